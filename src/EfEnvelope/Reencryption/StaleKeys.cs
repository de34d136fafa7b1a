using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>The keys that rows must leave: compromised first, then the oldest. Row keys under a retired kek are stale with it.</summary>
internal sealed class StaleKeys
{
    private readonly Dictionary<Guid, KeyRingEntry> _byId;
    private readonly Lazy<Dictionary<string, Guid>> _byArmor;

    private readonly HashSet<Guid> _compromisedKeks;

    private StaleKeys(List<KeyRingEntry> entries, HashSet<Guid> compromisedKeks)
    {
        Entries = entries;
        _compromisedKeks = compromisedKeks;
        _byId = entries.ToDictionary(e => e.Id);
        _byArmor = new(() => CensusTaker.IndexByArmor(entries));
    }

    public IReadOnlyList<KeyRingEntry> Entries { get; }

    /// <summary>When the last of them stopped sealing.</summary>
    public DateTimeOffset LastChange => Entries.Max(e => e.StateChangedAt ?? e.CreatedAt);

    public static StaleKeys Of(IReadOnlyList<KeyRingEntry> ring)
    {
        var retiredKeks = ring.Where(e => e.Purpose == KeyPurpose.Kek && EnvelopeCensus.IsStale(e.State)).Select(e => e.Id).ToHashSet();
        var compromisedKeks = ring.Where(e => e.Purpose == KeyPurpose.Kek && e.State == KeyState.Compromised).Select(e => e.Id).ToHashSet();
        return new StaleKeys(
            [.. ring.Where(e => e.Purpose == KeyPurpose.Field && e.State != KeyState.Destroyed
                && (e.State is KeyState.Deactivated or KeyState.Compromised || (e.KekId is { } kek && retiredKeks.Contains(kek))))
                .OrderBy(e => IsCompromised(e, compromisedKeks) ? 0 : 1).ThenBy(e => e.CreatedAt)],
            compromisedKeks);
    }

    /// <summary>What is worked off in turn: first everything that is compromised, then the rest. Each is one pass over the tables, however many keys.</summary>
    public IEnumerable<StaleKeys> Groups()
    {
        foreach (var group in Entries.GroupBy(e => IsCompromised(e, _compromisedKeks)).OrderByDescending(g => g.Key))
        {
            yield return new StaleKeys([.. group], _compromisedKeks);
        }
    }

    private static bool IsCompromised(KeyRingEntry entry, HashSet<Guid> compromisedKeks)
        => entry.State == KeyState.Compromised || (entry.KekId is { } kek && compromisedKeks.Contains(kek));

    /// <summary>Every key that no cell may name: also those that open no more, and that the job cannot treat therefore.</summary>
    public static StaleKeys RetiredOf(IReadOnlyList<KeyRingEntry> ring)
    {
        var treated = Of(ring);
        return new StaleKeys([.. treated.Entries, .. ring.Where(e => e.Purpose == KeyPurpose.Field && EnvelopeCensus.IsStale(e.State) && !treated.Contains(e.Id)).OrderBy(e => e.CreatedAt)], treated._compromisedKeks);
    }

    /// <summary>Those that cells still name: what was left long ago is not searched for again.</summary>
    public StaleKeys NamedBy(EnvelopeCensus census) => new([.. Entries.Where(e => census.CountOf(e.Id) > 0)], _compromisedKeks);

    /// <summary>The key whose armour begins like this (its first 126 bits).</summary>
    public Guid? FindByArmor(ReadOnlySpan<char> prefix)
        => _byArmor.Value.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(prefix, out var id) ? id : null;

    public bool Contains(Guid id) => _byId.ContainsKey(id);
}
