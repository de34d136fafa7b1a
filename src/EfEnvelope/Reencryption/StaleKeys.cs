using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>The keys that rows must leave: compromised first, then the oldest. Row keys under a retired kek are stale with it.</summary>
internal sealed class StaleKeys
{
    private readonly Dictionary<Guid, KeyRingEntry> _byId;

    private StaleKeys(List<KeyRingEntry> entries)
    {
        Entries = entries;
        _byId = entries.ToDictionary(e => e.Id);
    }

    public IReadOnlyList<KeyRingEntry> Entries { get; }

    /// <summary>When the last of them stopped sealing.</summary>
    public DateTimeOffset LastChange => Entries.Max(e => e.StateChangedAt ?? e.CreatedAt);

    public static StaleKeys Of(IReadOnlyList<KeyRingEntry> ring)
    {
        var retiredKeks = ring.Where(e => e.Purpose == KeyPurpose.Kek && EnvelopeCensus.IsStale(e.State)).Select(e => e.Id).ToHashSet();
        return new StaleKeys([.. ring
            .Where(e => e.Purpose == KeyPurpose.Field && e.State != KeyState.Destroyed
                && (e.State is KeyState.Deactivated or KeyState.Compromised || (e.KekId is { } kek && retiredKeks.Contains(kek))))
            .OrderBy(e => e.State == KeyState.Compromised ? 0 : 1).ThenBy(e => e.CreatedAt)]);
    }

    /// <summary>Every key that no cell may name: also those that open no more, and that the job cannot treat therefore.</summary>
    public static StaleKeys RetiredOf(IReadOnlyList<KeyRingEntry> ring)
    {
        var treated = Of(ring);
        return new StaleKeys([.. treated.Entries, .. ring.Where(e => e.Purpose == KeyPurpose.Field && EnvelopeCensus.IsStale(e.State) && !treated.Contains(e.Id)).OrderBy(e => e.CreatedAt)]);
    }

    /// <summary>Those that cells still name: what was left long ago is not searched for again.</summary>
    public StaleKeys NamedBy(EnvelopeCensus census) => new([.. Entries.Where(e => census.CountOf(e.Id) > 0)]);

    /// <summary>The key whose armour begins like this (its first 126 bits).</summary>
    public Guid? FindByArmor(string prefix)
    {
        foreach (var entry in Entries)
        {
            if (Census.CensusTaker.ArmorPrefix(entry.Id) == prefix)
            {
                return entry.Id;
            }
        }

        return null;
    }

    public bool Contains(Guid id) => _byId.ContainsKey(id);
}
