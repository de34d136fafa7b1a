namespace EfEnvelope;

/// <summary>Cells of one column that name one key, or row keys of one scope and state. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key; null for row keys, which are counted together, for ids beyond the first 1,000 of the column that the ring does not hold, and for cells that are not envelopes.</param>
/// <param name="Scope">The key's scope, <c>row:*@</c> and the scope above them for row keys; null for keys that the ring does not hold and for cells that are not envelopes.</param>
/// <param name="State">The key's state; null for a key that the ring does not hold.</param>
/// <param name="Keys">How many keys: 1 but for what is counted together, 0 for cells that are not envelopes.</param>
/// <param name="Cells">How many cells.</param>
public sealed record CountedCells(string Table, string Column, Guid? KeyId, string? Scope, KeyState? State, long Keys, long Cells);
