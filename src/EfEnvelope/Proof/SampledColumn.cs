namespace EfEnvelope;

/// <summary>An encrypted column, and how many random cells of it opened. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="Cells">Cells that the census counted in it.</param>
/// <param name="Sampled">Random rows whose cell was read.</param>
/// <param name="Opened">Of these, cells that opened whole and authentic; every encrypted member of a JSON document.</param>
/// <param name="Erased">Of these, cells of erased scopes: their keys are destroyed, and they are meant not to open.</param>
public sealed record SampledColumn(string Table, string Column, long Cells, int Sampled, int Opened, int Erased);
