namespace EfEnvelope;

/// <summary>Cells of one column that name one key.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key that the cells name; null for cells that are not envelopes (plaintext or foreign).</param>
/// <param name="Scope">The key's scope as the ring knows it; null for a key that the ring does not hold.</param>
/// <param name="State">The key's state; null for a key that the ring does not hold.</param>
/// <param name="Cells">How many.</param>
public sealed record CensusEntry(string Table, string Column, Guid? KeyId, string? Scope, KeyState? State, long Cells);

/// <summary>How many cells name which key, over every encrypted column of a model. Immutable.</summary>
/// <param name="TakenAt">When the census began, UTC.</param>
/// <param name="Entries">By table, column and key.</param>
public sealed record EnvelopeCensus(DateTimeOffset TakenAt, IReadOnlyList<CensusEntry> Entries)
{
    private readonly Dictionary<Guid, long> _byKey = Index(Entries);

    /// <summary>Databases over the same ring that hold encrypted columns too, and that were not counted: while there is one, no census of this database alone proves that a key is out of use. Empty where the ring has one database.</summary>
    public IReadOnlyList<string> OtherDatabases { get; init; } = [];

    /// <summary>What keeps this census from being a proof; null where the ring has no other database.</summary>
    internal string? NotAllBecause => OtherDatabases.Count == 0 ? null
        : $"the ring also serves {OtherDatabases.Count} database(s) that this census does not count: {string.Join(", ", OtherDatabases)}. Re-encrypt and take a census in each of them; then, and for one that is gone, `databases forget` takes it off the ring's list";

    /// <summary>Cells in all.</summary>
    public long Cells => Entries.Sum(e => e.Cells);

    /// <summary>Cells that name a key.</summary>
    /// <param name="keyId">The key.</param>
    public long CountOf(Guid keyId) => _byKey.GetValueOrDefault(keyId);

    /// <summary>Cells that name a key which may not stay in use: deactivated, compromised, revoked or scheduled for destruction.</summary>
    public long StaleCells => Entries.Where(e => e.State is { } state && IsStale(state)).Sum(e => e.Cells);

    /// <summary>Whether no cell may go on naming a key in this state. Not <see cref="KeyState.Destroyed"/>: what an erasure leaves is meant to stay.</summary>
    internal static bool IsStale(KeyState state) => state is KeyState.Deactivated or KeyState.Compromised or KeyState.Revoked or KeyState.PendingDestruction;

    private static Dictionary<Guid, long> Index(IReadOnlyList<CensusEntry> entries)
    {
        var byKey = new Dictionary<Guid, long>();
        foreach (var entry in entries)
        {
            if (entry.KeyId is { } key)
            {
                byKey[key] = byKey.GetValueOrDefault(key) + entry.Cells;
            }
        }

        return byKey;
    }
}
