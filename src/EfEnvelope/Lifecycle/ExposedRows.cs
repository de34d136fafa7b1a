namespace EfEnvelope;

/// <summary>Rows of one table and one tenant, subject or the global scope, that a selected key opens. Immutable.</summary>
/// <param name="Scope">Whose rows: <c>global</c>, <c>tenant:…</c> or <c>subject:…/…</c>; row keys count for their parent.</param>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Rows">Rows with at least one such cell.</param>
/// <param name="Since">UTC; when the first of their keys began to seal: no such row is exposed from before.</param>
/// <param name="Columns">Cells by column.</param>
public sealed record ExposedRows(string Scope, string Table, long Rows, DateTimeOffset Since, IReadOnlyList<ExposedColumn> Columns);
