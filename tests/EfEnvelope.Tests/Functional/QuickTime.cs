namespace EfEnvelope.Tests.Functional;

/// <summary>
/// The machine's clock, on which leases, waits and timers pass five times as fast: the shortest sealing lease, a second, is over after 200 ms, for tests in which the job waits for the cut-off by itself. The time of day is the true one.
/// </summary>
public sealed class QuickTime : TimeProvider
{
    private const int Factor = 5;

    private QuickTime()
    {
    }

    /// <summary>One for all contexts: their time stamps are compared.</summary>
    public static QuickTime Shared { get; } = new();

    public override long TimestampFrequency => base.TimestampFrequency / Factor;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        => new Timer(base.CreateTimer(callback, state, Shorten(dueTime), Shorten(period)));

    private static TimeSpan Shorten(TimeSpan time) => time == Timeout.InfiniteTimeSpan ? time : time / Factor;

    private sealed class Timer(ITimer timer) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(Shorten(dueTime), Shorten(period));

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();
    }
}
