namespace EfEnvelope;

/// <summary>Rows of one table that would be rewritten. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Columns">Its columns with cells that name a stale key.</param>
/// <param name="Rows">How many rows.</param>
/// <param name="Bytes">Bytes of all encrypted cells in these rows.</param>
/// <param name="HasKey">Whether it has a primary key, without which the job cannot write it.</param>
public sealed record PlannedTable(string Table, IReadOnlyList<string> Columns, long Rows, long Bytes, bool HasKey);
