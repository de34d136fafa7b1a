namespace EfEnvelope;

/// <summary>A re-encryption job as its tables show it, whoever works on it. Immutable.</summary>
/// <param name="Id">The job.</param>
/// <param name="State">Whether somebody works on it.</param>
/// <param name="CreatedAt">UTC, by the clock of the process that planned it.</param>
/// <param name="FinishedAt">UTC; when its rows were done. Null before.</param>
/// <param name="Keys">The keys that rows are to leave; of row keys the keks that they are under.</param>
/// <param name="Units">Its key ranges.</param>
/// <param name="UnitsDone">Those that are done.</param>
/// <param name="Rows">Rows re-encrypted so far, by all processes.</param>
/// <param name="Conflicts">Rows that the application wrote at the same time.</param>
/// <param name="Quarantined">Cells that could not be opened.</param>
/// <param name="LastHeartbeat">UTC; when a worker last committed a batch or renewed a lease.</param>
/// <param name="Workers">Who holds a unit now.</param>
public sealed record ReencryptionJobInfo(
    Guid Id,
    ReencryptionJobState State,
    DateTimeOffset CreatedAt,
    DateTimeOffset? FinishedAt,
    IReadOnlyList<Guid> Keys,
    int Units,
    int UnitsDone,
    long Rows,
    long Conflicts,
    long Quarantined,
    DateTimeOffset? LastHeartbeat,
    IReadOnlyList<ReencryptionWorkerInfo> Workers);
