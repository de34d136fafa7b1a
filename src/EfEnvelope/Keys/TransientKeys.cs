namespace EfEnvelope.Keys;

/// <summary>
/// Keys that a context made or read inside its open transaction: they belong to that context until they are read again from committed rows, because the
/// transaction may roll back and EF raises no event when a raw one commits. Not thread safe, like the context.
/// </summary>
internal sealed class TransientKeys
{
    private readonly Dictionary<Guid, RingKey> _byId = [];
    private readonly Dictionary<string, RingKey> _sealing = new(StringComparer.Ordinal);

    public int Count => _byId.Count;

    public void Add(RingKey key, bool seals)
    {
        _byId[key.Id] = key;
        KeyRingRegistry.AddTransient(key);
        if (seals)
        {
            _sealing[key.Scope] = key;
        }
    }

    public bool TryGetForSealing(string scope, out RingKey key) => _sealing.TryGetValue(scope, out key!);

    public bool TryGetForOpening(Guid id, out RingKey key) => _byId.TryGetValue(id, out key!);

    public void Clear()
    {
        foreach (var key in _byId.Values)
        {
            KeyRingRegistry.RemoveTransient(key);
        }

        _byId.Clear();
        _sealing.Clear();
    }
}
