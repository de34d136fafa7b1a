namespace EfEnvelope;

/// <summary>How a re-encryption job runs. A value; every member has a safe default.</summary>
public sealed record ReencryptionOptions
{
    /// <summary>Rows read, sealed and written in one transaction. 1 to 10,000, default 2,000; fewer where values are large (16 MiB a batch).</summary>
    public int BatchSize { get; init; } = 2_000;

    /// <summary>Workers of this process, each with a connection of its own. 1 to 64, default 2. SQLite has one writer and uses 1.</summary>
    public int DegreeOfParallelism { get; init; } = 2;

    /// <summary>Rows of a unit, the key range that a worker claims. 100 to 10,000,000, default 20,000.</summary>
    public int UnitSize { get; init; } = 20_000;

    /// <summary>Pause of each worker between two batches. 0 to 1 hour, default none.</summary>
    public TimeSpan Pause { get; init; }

    /// <summary>Most rows a second of all workers of this process; 0, the default, is no limit.</summary>
    public int MaxRowsPerSecond { get; init; }

    /// <summary>When the job may work; null, the default, is always. It concerns the rows: a job whose rows are done goes on to its cut-off and census.</summary>
    public ReencryptionWindow? Window { get; init; }

    /// <summary>
    /// Bytes of write-ahead log that a replica may lag behind before the workers wait for it: the greatest distance in <c>pg_stat_replication</c>, asked for at most twice a second. 0, the default, is no limit.
    /// PostgreSQL only; the role needs <c>pg_read_all_stats</c>.
    /// </summary>
    public long MaxReplicaLagBytes { get; init; }

    /// <summary>
    /// How long the job waits for the cut-off: the sealing lease of the last rotation, then every older transaction's end. 0 to 7 days, default 15 minutes; zero leaves the proof out, which the report says.
    /// </summary>
    public TimeSpan CutOffTimeout { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>Random cells of every encrypted column that are opened at the end, for the completion report. 0 to 1,000, default 10.</summary>
    public int SampleSize { get; init; } = 10;

    /// <summary>How old a key that still seals may be before a plan says that it is expired; the job itself rotates nothing. 1 to 3,650 days, default 365.</summary>
    public TimeSpan KeyLifetime { get; init; } = TimeSpan.FromDays(365);

    /// <summary>How long a claimed unit stays with a worker that gives no sign of life. 5 s to 1 h, default 60 s.</summary>
    public TimeSpan UnitLease { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long the batch that is under way may go on after the job was told to stop; then it is rolled back, and the next run does it again. 0 to 10 minutes, default 30 s.</summary>
    public TimeSpan StopGrace { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>What tests say instead of <c>pg_stat_replication</c>.</summary>
    internal Func<long>? ReplicaLag { get; init; }

    /// <summary>Where tests inject faults; awaited at each step of each worker.</summary>
    internal Func<Reencryption.JobStep, ValueTask>? FaultPoint { get; init; }

    internal ValueTask ReachAsync(Reencryption.JobStep step) => FaultPoint?.Invoke(step) ?? ValueTask.CompletedTask;

    /// <exception cref="EnvelopeConfigurationException">An option is out of its range; the message names it.</exception>
    internal void Validate()
    {
        Check(BatchSize is >= 1 and <= 10_000, "BatchSize must be 1 to 10,000");
        Check(DegreeOfParallelism is >= 1 and <= 64, "DegreeOfParallelism must be 1 to 64");
        Check(UnitSize is >= 100 and <= 10_000_000, "UnitSize must be 100 to 10,000,000");
        Check(Pause >= TimeSpan.Zero && Pause <= TimeSpan.FromHours(1), "Pause must be 0 to 1 hour");
        Check(MaxRowsPerSecond >= 0, "MaxRowsPerSecond must be 0 or more");
        Check(Window is null or { Zone: not null }, "Window needs a time zone");
        Check(MaxReplicaLagBytes >= 0, "MaxReplicaLagBytes must be 0 or more");
        Check(CutOffTimeout >= TimeSpan.Zero && CutOffTimeout <= TimeSpan.FromDays(7), "CutOffTimeout must be 0 to 7 days");
        Check(SampleSize is >= 0 and <= 1_000, "SampleSize must be 0 to 1,000");
        Check(KeyLifetime >= TimeSpan.FromDays(1) && KeyLifetime <= TimeSpan.FromDays(3650), "KeyLifetime must be 1 to 3,650 days");
        Check(UnitLease >= TimeSpan.FromSeconds(5) && UnitLease <= TimeSpan.FromHours(1), "UnitLease must be 5 s to 1 h");
        Check(StopGrace >= TimeSpan.Zero && StopGrace <= TimeSpan.FromMinutes(10), "StopGrace must be 0 to 10 minutes");
    }

    private static void Check(bool isInRange, string range)
    {
        if (!isInRange)
        {
            throw new EnvelopeConfigurationException($"An option of the re-encryption is out of its range: {range}. Nothing was changed.");
        }
    }
}
