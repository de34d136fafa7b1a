using System.Collections.Concurrent;
using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Why cells of a pass stay where they are although nothing is wrong with them: the key that they name does not open, or its scope has no key to go on with. Such cells are passed over together, are not asked for again in the pass, and
/// are no quarantine. Thread safe.
/// </summary>
internal sealed class BlockedKeys
{
    /// <summary>By the keys that cells name; of row keys the keks.</summary>
    private readonly ConcurrentDictionary<Guid, EnvelopeEncryptionException> _keys = new();

    /// <summary>By the scopes that have no key to go on with.</summary>
    private readonly ConcurrentDictionary<string, EnvelopeEncryptionException> _scopes = new(StringComparer.Ordinal);

    /// <summary>By the scopes above rows that have no kek to go on with.</summary>
    private readonly ConcurrentDictionary<string, EnvelopeEncryptionException> _parents = new(StringComparer.Ordinal);

    public int Count => _keys.Count + _scopes.Count + _parents.Count;

    /// <summary>A new pass asks again.</summary>
    public void Clear()
    {
        _keys.Clear();
        _scopes.Clear();
        _parents.Clear();
    }

    /// <summary>A key that does not open; of row keys their kek.</summary>
    public void AddKey(Guid id, EnvelopeEncryptionException why) => _keys.TryAdd(id, why);

    /// <summary>A scope without a key to go on with.</summary>
    public void AddScope(string scope, EnvelopeEncryptionException why) => _scopes.TryAdd(scope, why);

    /// <summary>A scope whose rows have no kek to go on with.</summary>
    public void AddParent(string scope, EnvelopeEncryptionException why) => _parents.TryAdd(scope, why);

    /// <summary>Why the cells of a scope's key are passed over; null where they are not.</summary>
    public EnvelopeEncryptionException? Find(Guid id, string scope) => Count == 0 ? null : _keys.GetValueOrDefault(id) ?? _scopes.GetValueOrDefault(scope);

    /// <summary>The same for the row keys under a kek.</summary>
    public EnvelopeEncryptionException? FindRows(Guid kek, string parent) => Count == 0 ? null : _keys.GetValueOrDefault(kek) ?? _parents.GetValueOrDefault(parent);

    /// <summary>What a census counts of them.</summary>
    public IReadOnlyList<BlockedKey> CountIn(IEnumerable<CensusEntry> stale)
        => [.. stale.Select(e => (Entry: e, Why: e is { KekId: { } kek, Scope: { } rows } ? FindRows(kek, KeyScope.ParentOf(rows)) : e is { KeyId: { } id, Scope: { } scope } ? Find(id, scope) : null))
            .Where(e => e.Why is not null).GroupBy(e => (KeyId: e.Entry.KekId ?? e.Entry.KeyId!.Value, Scope: e.Entry.Scope!))
            .Select(g => new BlockedKey(g.Key.KeyId, g.Key.Scope, g.First().Why!.GetType().Name, g.Sum(e => e.Entry.Cells))).OrderBy(k => k.Scope, StringComparer.Ordinal).ThenBy(k => k.KeyId)];
}
