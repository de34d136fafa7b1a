namespace EfEnvelope;

/// <summary>A worker of a re-encryption job, by the unit that it holds. Immutable.</summary>
/// <param name="Name">Machine, process id, run and number.</param>
/// <param name="Table">The unit's table.</param>
/// <param name="Unit">The unit's number in the job.</param>
/// <param name="Rows">Rows of the unit that are re-encrypted so far.</param>
/// <param name="LastHeartbeat">UTC, by the worker's clock; when it last committed a batch or renewed its lease.</param>
/// <param name="LeaseUntil">UTC, by the database's clock; then others may take the unit.</param>
/// <param name="IsAlive">Whether the lease still runs. A worker without one is dead, suspended, or cut off from the database.</param>
public sealed record ReencryptionWorkerInfo(string Name, string Table, int Unit, long Rows, DateTimeOffset LastHeartbeat, DateTimeOffset LeaseUntil, bool IsAlive);
