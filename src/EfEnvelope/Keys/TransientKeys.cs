namespace EfEnvelope.Keys;

/// <summary>
/// Keys that a context made or read inside its open transaction: they belong to that context until they are read again from committed rows, because the
/// transaction may roll back and EF raises no event when a raw one commits. Only their material is reused: whether a scope's row exists is read anew for each save. Not
/// thread safe, like the context.
/// </summary>
internal sealed class TransientKeys : IDisposable
{
    private readonly Dictionary<Guid, RingKey> _byId = [];
    private readonly Dictionary<string, RingKey> _drafts = new(StringComparer.Ordinal);

    public int Count => _byId.Count;

    /// <summary>Holds a key of a ring row; where the same key is held, that one stays and is returned.</summary>
    public RingKey Add(RingKey key)
    {
        if (_byId.TryGetValue(key.Id, out var held))
        {
            if (!ReferenceEquals(held, key))
            {
                key.Drop();
            }

            held.Entry = key.Entry;
            return held;
        }

        _byId.Add(key.Id, key);
        KeyRingRegistry.AddTransient(key);
        return key;
    }

    /// <summary>Holds a new row's key, whose ring row travels with the row.</summary>
    public void AddDraft(RingKey key)
    {
        Add(key);
        _drafts[key.Scope] = key;
    }

    public bool TryGetDraft(string scope, out RingKey key) => _drafts.TryGetValue(scope, out key!);

    public bool TryGetForOpening(Guid id, out RingKey key) => _byId.TryGetValue(id, out key!);

    public void Clear()
    {
        foreach (var key in _byId.Values)
        {
            KeyRingRegistry.RemoveTransient(key);
            key.Drop();
        }

        _byId.Clear();
        _drafts.Clear();
    }

    public void Dispose() => Clear();
}
