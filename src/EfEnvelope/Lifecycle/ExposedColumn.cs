namespace EfEnvelope;

/// <summary>Cells of one column. Immutable.</summary>
/// <param name="Column">The column.</param>
/// <param name="Cells">How many; members of a JSON document count one by one.</param>
public sealed record ExposedColumn(string Column, long Cells);
