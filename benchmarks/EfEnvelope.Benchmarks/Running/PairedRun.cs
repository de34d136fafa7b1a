using System.Diagnostics;

namespace EfEnvelope.Benchmarks.Running;

/// <summary>
/// Compares ways to do the same work on a machine that others use too: every round runs each variant once, in alternating order, and ratios are taken of the least times, which a neighbour's noise
/// can only raise. Goes on until the least times stand, or patience ends.
/// </summary>
internal sealed class PairedRun(RunSettings settings)
{
    private const int SteadyTurns = 3;
    private const double Close = 1.05;

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
        var warming = Stopwatch.GetTimestamp();
        for (var round = 0; round < settings.WarmUps || Stopwatch.GetElapsedTime(warming) < settings.WarmUpTime; round++)
        {
            foreach (var variant in _variants)
            {
                await variant.TurnAsync();
            }
        }

        var started = Stopwatch.GetTimestamp();
        for (var round = 0; round < settings.Rounds || !(IsSteady || Stopwatch.GetElapsedTime(started) > settings.Patience); round++)
        {
            for (var i = 0; i < _variants.Count; i++)
            {
                var variant = _variants[round % 2 == 0 ? i : _variants.Count - 1 - i];
                var (elapsed, processor) = await variant.TurnAsync();
                variant.Times.Add(elapsed);
                variant.ProcessorTimes.Add(processor);
            }
        }

        var result = new PairedResult(_variants.ToDictionary(v => v.Name, v => v.Times.ToArray(), StringComparer.Ordinal), _variants.ToDictionary(v => v.Name, v => v.ProcessorTimes.Min(), StringComparer.Ordinal));
        settings.Note(result.ToString());
        return result;
    }

    /// <summary>Whether every variant came close to its least time more than once: then it is no accident, and not the neighbours' doing.</summary>
    private bool IsSteady => _variants.TrueForAll(v => v.Times.Count(t => t <= v.Times.Min() * Close) >= SteadyTurns);

    private sealed record Variant(string Name, Func<Task> Work, Func<Task>? Before)
    {
        public List<TimeSpan> Times { get; } = [];

        /// <summary>Of this process: says what a variant costs also where the machine is busy with something else.</summary>
        public List<TimeSpan> ProcessorTimes { get; } = [];

        public async Task<(TimeSpan Elapsed, TimeSpan Processor)> TurnAsync()
        {
            if (Before is not null)
            {
                await Before();
            }

            // What earlier turns left is not collected on this one's time.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            var processor = Environment.CpuUsage.TotalTime;
            var started = Stopwatch.GetTimestamp();
            await Work();
            return (Stopwatch.GetElapsedTime(started), Environment.CpuUsage.TotalTime - processor);
        }
    }
}
