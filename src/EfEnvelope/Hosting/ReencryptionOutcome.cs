namespace EfEnvelope;

/// <summary>How a scheduled run ended.</summary>
public enum ReencryptionOutcome
{
    /// <summary>No key is retired, or none was since the last finished run: no table was read.</summary>
    NothingStale,

    /// <summary>Finished and proven.</summary>
    Proven,

    /// <summary>Finished; cells that could not be opened still name a stale key.</summary>
    Quarantined,

    /// <summary>Finished, without the proof: <see cref="ReencryptionReport.NotProvenBecause"/>.</summary>
    NotProven,

    /// <summary>Stopped with the host, or at the end of the window; the next run takes it up.</summary>
    Stopped,

    /// <summary>Failed; the next run takes it up.</summary>
    Failed,
}
