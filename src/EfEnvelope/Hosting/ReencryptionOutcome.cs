namespace EfEnvelope;

/// <summary>How a scheduled run ended.</summary>
public enum ReencryptionOutcome
{
    /// <summary>No key is retired, or none was since the last run, which was proven: no table was read.</summary>
    NothingStale,

    /// <summary>Finished and proven.</summary>
    Proven,

    /// <summary>Finished; cells that could not be opened still name a stale key. Also a run after such a one that read no table, because no other key was retired and <see cref="ReencryptionScheduleOptions.QuarantineInterval"/> is not over.</summary>
    Quarantined,

    /// <summary>Finished, without the proof: <see cref="ReencryptionReport.NotProvenBecause"/>. Also a run after one that passed cells over (<see cref="ReencryptionReport.Blocked"/>) and that read no table, as with <see cref="Quarantined"/>.</summary>
    NotProven,

    /// <summary>Stopped with the host, or at the end of the window; the next run takes it up.</summary>
    Stopped,

    /// <summary>Failed; the next run takes it up.</summary>
    Failed,
}
