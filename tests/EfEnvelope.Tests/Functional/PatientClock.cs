using System.Globalization;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Functional;

/// <summary>A test's clock: it stands until the test moves it on, and whoever waits for the rest of a sealing lease finds it over. Shorter and longer waits are the test's to end.</summary>
public sealed class PatientClock() : FakeTimeProvider(DateTimeOffset.Parse("2026-01-01T00:00:00Z", CultureInfo.InvariantCulture))
{
    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(10);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = base.CreateTimer(callback, state, dueTime, period);
        if (period == Timeout.InfiniteTimeSpan && dueTime > Shortest && dueTime <= Longest)
        {
            Advance(dueTime);
        }

        return timer;
    }
}
