namespace EfEnvelope.Keys;

/// <summary>What a ring holds, in memory that does not grow with the number of rows that have keys of their own. Immutable.</summary>
/// <param name="Scopes">Every key that the key service wraps, in id order: data keys, keks, index roots and the mac key of the ring.</param>
/// <param name="RowKeys">The row keys, summed up.</param>
internal sealed record RingSummary(IReadOnlyList<KeyRingEntry> Scopes, IReadOnlyList<RowKeySum> RowKeys);
