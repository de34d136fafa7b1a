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
    private readonly Option<int> _pause = new("--pause") { Description = "milliseconds between two batches of a worker, 0 to 3,600,000", DefaultValueFactory = _ => (int)Defaults.Pause.TotalMilliseconds };
    private readonly Option<int> _rate = new("--max-rows-per-second") { Description = "of all workers of this process; 0 is no limit", DefaultValueFactory = _ => Defaults.MaxRowsPerSecond };

    private readonly Option<string?> _window = new("--window") { Description = "time of day in which rows are treated: 22:00-05:00 (UTC) or \"22:00-05:00 Europe/Zurich\"; outside of it workers wait, or with `stop` behind it the job ends with 4" };
    private readonly Option<long> _lag = new("--max-replica-lag-bytes") { Description = "wait while a replica lags further behind, in bytes of write-ahead log; 0 is no limit", DefaultValueFactory = _ => Defaults.MaxReplicaLagBytes };
    private readonly Option<int> _grace = new("--stop-grace") { Description = "seconds that the batch under way may go on after a stop, 0 to 600; then it is rolled back", DefaultValueFactory = _ => (int)Defaults.StopGrace.TotalSeconds };

    public Option<bool> Json { get; } = new("--json") { Description = "print events for machines, one JSON object a line, and nothing else; with --dry-run the plan or the preview" };

    public IEnumerable<Option> All => [_batch, _parallel, _unit, _unitLease, _pause, _rate, _window, _lag, _grace, Json];

    /// <exception cref="EnvelopeConfigurationException">An option is out of its range, or the window cannot be read.</exception>
    public ReencryptionOptions Read(ParseResult parsed, int cutOffSeconds, int sample, int? keyLifetimeDays = null)
    {
        if (keyLifetimeDays is < 1 or > 3_650)
        {
            throw new EnvelopeConfigurationException("--key-lifetime-days is 1 to 3,650. Nothing was changed.");
        }

        var options = new ReencryptionOptions
        {
            BatchSize = parsed.GetValue(_batch),
            DegreeOfParallelism = parsed.GetValue(_parallel),
            UnitSize = parsed.GetValue(_unit),
            UnitLease = TimeSpan.FromSeconds(parsed.GetValue(_unitLease)),
            Pause = TimeSpan.FromMilliseconds(parsed.GetValue(_pause)),
            MaxRowsPerSecond = parsed.GetValue(_rate),
            Window = Window(parsed.GetValue(_window)),
            MaxReplicaLagBytes = parsed.GetValue(_lag),
            StopGrace = TimeSpan.FromSeconds(parsed.GetValue(_grace)),
            CutOffTimeout = TimeSpan.FromSeconds(cutOffSeconds),
            SampleSize = sample,
            KeyLifetime = keyLifetimeDays is { } days ? TimeSpan.FromDays(days) : Defaults.KeyLifetime,
        };
        options.Validate();
        return options;
    }

    private static ReencryptionWindow? Window(string? text)
    {
        try
        {
            return text is null ? null : ReencryptionWindow.Parse(text);
        }
        catch (FormatException error)
        {
            throw new EnvelopeConfigurationException($"--window: {error.Message} Nothing was changed.", error);
        }
    }
}
