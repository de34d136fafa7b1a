namespace EfEnvelope;

/// <summary>Where the hosted service of a context stands: a snapshot that does not change.</summary>
public sealed record ReencryptionStatus
{
    /// <summary>Whether a run is under way in this process.</summary>
    public bool IsRunning { get; init; }

    /// <summary>When the next run is due, UTC; while one is under way, when that one was. Null before the host has started.</summary>
    public DateTimeOffset? NextRunAt { get; init; }

    /// <summary>When the last run began; null before the first.</summary>
    public DateTimeOffset? LastStartedAt { get; init; }

    /// <summary>When the last run ended; null before the first did.</summary>
    public DateTimeOffset? LastEndedAt { get; init; }

    /// <summary>How the last run ended; null before the first did.</summary>
    public ReencryptionOutcome? LastOutcome { get; init; }

    /// <summary>The report of the last run that came to its end; null before.</summary>
    public ReencryptionReport? LastReport { get; init; }

    /// <summary>The latest batch of the run that is under way, or of the last one; null where it had none.</summary>
    public ReencryptionProgress? Progress { get; init; }

    /// <summary>Why the last run failed; null unless <see cref="LastOutcome"/> is <see cref="ReencryptionOutcome.Failed"/>.</summary>
    public Exception? LastError { get; init; }

    /// <summary>Runs that failed since the last one that did not.</summary>
    public int FailuresInARow { get; init; }
}
