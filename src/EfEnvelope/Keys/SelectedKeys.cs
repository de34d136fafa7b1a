namespace EfEnvelope.Keys;

/// <summary>What a selection means in a ring. Immutable.</summary>
/// <param name="RingId">The ring.</param>
/// <param name="Meaning">Which row keys it takes with it.</param>
/// <param name="RowKeys">These row keys, by kek and state.</param>
/// <param name="OpenRowKeys">The first of them that open, at most <see cref="ChangedEntries.MaxRowKeys"/>.</param>
/// <param name="WasReported">Whether one of all these keys had been reported compromised before.</param>
/// <param name="Tampered">Rows of the ring that are not genuine, at most as many; whether they were meant is not known.</param>
internal sealed record SelectedKeys(Guid RingId, SelectionMeaning Meaning, IReadOnlyList<RowKeySum> RowKeys, IReadOnlyList<Guid> OpenRowKeys, bool WasReported, IReadOnlyList<Guid> Tampered)
{
    /// <summary>Keys of scopes that seal values or wrap row keys, and a row key that was named by itself.</summary>
    public IReadOnlyList<KeyRingEntry> Covered => Meaning.Covered;

    /// <summary>Selected keys that have no such life: index roots and the ring's own mac key.</summary>
    public IReadOnlyList<KeyRingEntry> NotCovered => Meaning.NotCovered;

    /// <summary>All of them: those of scopes and the row keys.</summary>
    public long Count => Covered.Count + RowKeys.Sum(k => k.Keys);

    /// <summary>Whether one of them opens.</summary>
    public bool HasOpen => Covered.Any(e => IsOpen(e.State)) || RowKeys.Any(k => IsOpen(k.State));

    /// <summary>Whether each of these keys that is open had been found by an earlier search, and row keys under the keks of that search alone: somebody else may have marked others since, whose lease is a later one.</summary>
    public bool IsWithin(SelectedKeys earlier)
        => Covered.All(e => !IsOpen(e.State) || earlier.Covered.Any(c => c.Id == e.Id))
            && RowKeys.All(k => !IsOpen(k.State) || earlier.Covered.Any(c => c.Id == k.KekId) || earlier.RowKeys.Contains(k));

    public static bool IsOpen(KeyState state) => state is not (KeyState.Revoked or KeyState.Destroyed or KeyState.PendingDestruction);
}

/// <summary>A selection among the keys of scopes of one ring. Immutable.</summary>
/// <param name="Covered">Selected keys that seal values or wrap row keys.</param>
/// <param name="NotCovered">Selected keys that have no such life.</param>
/// <param name="RowKeys">Which rows of the ring hold the row keys that go with them; null where there can be none.</param>
/// <param name="CoversRowKey">Whether a row key goes with them.</param>
internal sealed record SelectionMeaning(IReadOnlyList<KeyRingEntry> Covered, IReadOnlyList<KeyRingEntry> NotCovered, RingFilter? RowKeys, Func<KeyRingEntry, bool> CoversRowKey);
