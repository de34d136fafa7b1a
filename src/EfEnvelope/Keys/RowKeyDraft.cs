namespace EfEnvelope.Keys;

/// <summary>A new row key: the entry that is to be inserted together with its row, and the key to seal the row with. Not in any shared cache until it is read again.</summary>
internal sealed record RowKeyDraft(KeyRingEntry Entry, RingKey Key);
