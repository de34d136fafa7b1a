namespace EfEnvelope;

/// <summary>An encrypted column that the ring's table of columns lists for the context's database. Immutable.</summary>
/// <param name="Table">The table: on PostgreSQL with the schema it stands in, on SQLite with the schema of the model, if it has one. Without one where it was registered before its table was there.</param>
/// <param name="Column">The column.</param>
/// <param name="IsFound">Whether the database has it, so that a census counts it.</param>
public sealed record RegisteredColumn(string Table, string Column, bool IsFound);
