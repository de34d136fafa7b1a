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
        var repeats = await WarmUpAsync();
        var started = Stopwatch.GetTimestamp();
        for (var round = 0; round < settings.Rounds || !(IsSteady || Stopwatch.GetElapsedTime(started) > settings.Patience); round++)
        {
            for (var i = 0; i < _variants.Count; i++)
            {
                var variant = _variants[round % 2 == 0 ? i : _variants.Count - 1 - i];
                var (elapsed, processor, allocated) = await variant.TurnAsync(repeats);
                variant.Times.Add(elapsed);
                variant.ProcessorTimes.Add(processor);
                variant.Allocated = Math.Min(variant.Allocated, allocated);
            }
        }

        var result = new PairedResult(_variants.ToDictionary(v => v.Name, v => v.Times.ToArray(), StringComparer.Ordinal), _variants.ToDictionary(v => v.Name, v => v.ProcessorTimes.Min(), StringComparer.Ordinal),
            _variants.ToDictionary(v => v.Name, v => v.Allocated, StringComparer.Ordinal));
        settings.Note(result.ToString());
        return result;
    }

    /// <summary>
    /// The runtime compiles a method a last time, with what it learned, only after it ran often, and clears away what was allocated only when there is enough of it. A service lives in that state; a single short turn would
    /// measure the compiler, and the collections that happen to fall into it.
    /// </summary>
    /// <returns>How often a turn repeats its work: until the fastest variant takes as long as a turn should.</returns>
    private async Task<int> WarmUpAsync()
    {
        var warming = Stopwatch.GetTimestamp();
        var fastest = TimeSpan.MaxValue;
        for (var round = 0; round < settings.WarmUps || Stopwatch.GetElapsedTime(warming) < settings.WarmUpTime; round++)
        {
            foreach (var variant in _variants)
            {
                var (elapsed, _, _) = await variant.TurnAsync(1);
                fastest = elapsed < fastest ? elapsed : fastest;
            }
        }

        return Math.Max(1, (int)Math.Ceiling(settings.TurnTime / fastest));
    }

    /// <summary>Whether every variant came close to its least time more than once: then it is no accident, and not the neighbours' doing.</summary>
    private bool IsSteady => _variants.TrueForAll(v => v.Times.Count(t => t <= v.Times.Min() * Close) >= SteadyTurns);

    private sealed record Variant(string Name, Func<Task> Work, Func<Task>? Before)
    {
        public List<TimeSpan> Times { get; } = [];

        /// <summary>Of this process: says what a variant costs also where the machine is busy with something else.</summary>
        public List<TimeSpan> ProcessorTimes { get; } = [];

        /// <summary>Bytes of the managed heap.</summary>
        public long Allocated { get; set; } = long.MaxValue;

        public async Task<(TimeSpan Elapsed, TimeSpan Processor, long Allocated)> TurnAsync(int repeats)
        {
            // What earlier turns left is not collected on this one's time.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            var (elapsed, processor, allocated) = (TimeSpan.Zero, TimeSpan.Zero, 0L);
            for (var i = 0; i < repeats; i++)
            {
                if (Before is not null)
                {
                    await Before();
                }

                allocated -= GC.GetTotalAllocatedBytes();
                processor -= Environment.CpuUsage.TotalTime;
                var started = Stopwatch.GetTimestamp();
                await Work();
                elapsed += Stopwatch.GetElapsedTime(started);
                processor += Environment.CpuUsage.TotalTime;
                allocated += GC.GetTotalAllocatedBytes();
            }

            return (elapsed / repeats, processor / repeats, allocated / repeats);
        }
    }
}
