using System.Diagnostics;

namespace EfEnvelope.Benchmarks.Running;

/// <summary>
/// Compares ways to do the same work on a machine that others use too: every round runs each variant once, in alternating order, and ratios are taken of the least times, which a neighbour's noise
/// can only raise.
/// </summary>
internal sealed class PairedRun(RunSettings settings)
{
    private readonly List<Variant> _variants = [];

    /// <param name="name">What the results call it.</param>
    /// <param name="work">What is timed.</param>
    /// <param name="before">Prepares each turn, untimed.</param>
    public PairedRun Add(string name, Func<Task> work, Func<Task>? before = null)
    {
        _variants.Add(new Variant(name, work, before));
        return this;
    }

    public async Task<PairedResult> RunAsync()
    {
        for (var round = -settings.WarmUps; round < settings.Rounds; round++)
        {
            for (var i = 0; i < _variants.Count; i++)
            {
                var variant = _variants[round % 2 == 0 ? i : _variants.Count - 1 - i];
                var elapsed = await variant.TurnAsync();
                if (round >= 0)
                {
                    variant.Times.Add(elapsed);
                }
            }
        }

        var result = new PairedResult(_variants.ToDictionary(v => v.Name, v => v.Times.ToArray(), StringComparer.Ordinal));
        settings.Note(result.ToString());
        return result;
    }

    private sealed record Variant(string Name, Func<Task> Work, Func<Task>? Before)
    {
        public List<TimeSpan> Times { get; } = [];

        public async Task<TimeSpan> TurnAsync()
        {
            if (Before is not null)
            {
                await Before();
            }

            // What earlier turns left is not collected on this one's time.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            var started = Stopwatch.GetTimestamp();
            await Work();
            return Stopwatch.GetElapsedTime(started);
        }
    }
}
