using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>
/// Cells of one column that name one key; or row keys of one kek and state, which are counted together (<see cref="KekId"/>), since there may be millions. What is no key of the ring is listed by its id too, the first 1,000 ids of a
/// column; all further ones are one entry. Immutable.
/// </summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key that the cells name; null for row keys, which are counted together, for ids beyond the first 1,000 that the ring does not hold (of text armour for all of these: it shows three quarters of an id), and for cells that are not envelopes (plaintext or foreign).</param>
/// <param name="Scope">The key's scope as the ring knows it, <c>row:*@</c> and the scope above them for row keys together; null for a key that the ring does not hold.</param>
/// <param name="State">The key's state, of row keys their own; null for a key that the ring does not hold.</param>
/// <param name="Cells">How many.</param>
public sealed record CensusEntry(string Table, string Column, Guid? KeyId, string? Scope, KeyState? State, long Cells)
{
    /// <summary>How many keys: 1 for a key that is counted by itself, 0 for cells that are not envelopes. A row key that stands in several JSON documents counts for each.</summary>
    public long Keys { get; init; } = KeyId is null ? 0 : 1;

    /// <summary>The kek that wraps the row keys; null for every other key.</summary>
    public Guid? KekId { get; init; }

    /// <summary>The state of that kek; null for every other key.</summary>
    public KeyState? KekState { get; init; }

    /// <summary>Whether no cell may go on naming the key: deactivated, compromised, revoked or scheduled for destruction; of a row key that is not destroyed also when its kek is.</summary>
    public bool IsStale => State is { } state && (EnvelopeCensus.IsStale(state) || (state != KeyState.Destroyed && KekState is { } kek && EnvelopeCensus.IsStale(kek)));

    /// <summary>Row keys that are counted together; else null.</summary>
    internal RowKeySum? RowKeys { get; init; }

    /// <summary>Whether some of them were to be counted one by one, and were too many.</summary>
    internal bool IsTooMany { get; init; }
}
