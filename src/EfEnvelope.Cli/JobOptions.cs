using System.CommandLine;

namespace EfEnvelope.Cli;

/// <summary>The options of a verb that runs the job, with their units, ranges and defaults. One for each command.</summary>
internal sealed class JobOptions
{
    private static readonly ReencryptionOptions Defaults = new();

    private readonly Option<int> _batch = new("--batch-size") { Description = "rows a transaction, 1 to 10,000", DefaultValueFactory = _ => Defaults.BatchSize };
    private readonly Option<int> _parallel = new("--parallel") { Description = "workers of this process, 1 to 64", DefaultValueFactory = _ => Defaults.DegreeOfParallelism };
    private readonly Option<int> _unit = new("--unit-size") { Description = "rows of a key range that a worker claims, 100 to 10,000,000", DefaultValueFactory = _ => Defaults.UnitSize };
    private readonly Option<int> _unitLease = new("--unit-lease") { Description = "seconds that a claimed range stays with a worker that gives no sign of life, 5 to 3600", DefaultValueFactory = _ => (int)Defaults.UnitLease.TotalSeconds };
    private readonly Option<int> _pause = new("--pause") { Description = "milliseconds between two batches of a worker, 0 or more", DefaultValueFactory = _ => (int)Defaults.Pause.TotalMilliseconds };
    private readonly Option<int> _rate = new("--max-rows-per-second") { Description = "of all workers of this process; 0 is no limit", DefaultValueFactory = _ => Defaults.MaxRowsPerSecond };

    public Option<bool> Json { get; } = new("--json") { Description = "print events for machines, one JSON object a line, and nothing else; with --dry-run the plan or the preview" };

    public IEnumerable<Option> All => [_batch, _parallel, _unit, _unitLease, _pause, _rate, Json];

    /// <exception cref="EnvelopeConfigurationException">A time is negative; the job itself refuses what else is out of range.</exception>
    public ReencryptionOptions Read(ParseResult parsed, int cutOffSeconds, int sample)
    {
        var pause = parsed.GetValue(_pause);
        return pause < 0 || cutOffSeconds < 0
            ? throw new EnvelopeConfigurationException("--pause and --cut-off-timeout are 0 or more. Nothing was changed.")
            : new ReencryptionOptions
            {
                BatchSize = parsed.GetValue(_batch),
                DegreeOfParallelism = parsed.GetValue(_parallel),
                UnitSize = parsed.GetValue(_unit),
                UnitLease = TimeSpan.FromSeconds(parsed.GetValue(_unitLease)),
                Pause = TimeSpan.FromMilliseconds(pause),
                MaxRowsPerSecond = parsed.GetValue(_rate),
                CutOffTimeout = TimeSpan.FromSeconds(cutOffSeconds),
                SampleSize = sample,
            };
    }
}
