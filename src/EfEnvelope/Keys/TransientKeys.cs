using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Keys that a context made or read inside its open transaction: they belong to that context until they are read again from committed rows, because the
/// transaction may roll back and EF raises no event when a raw one commits. Whoever asks for one has those of a former transaction forgotten first: nobody asks the ring or the key service about them, so that
/// they would open on after their key was revoked or erased. Only their material is reused: whether a scope's row exists is read anew for each save. Not thread safe, like the context.
/// </summary>
/// <param name="findTransaction">The transaction that is open now, whose rows the ring does not see yet; null where there never is one.</param>
internal sealed class TransientKeys(Func<object?>? findTransaction = null) : IDisposable
{
    private readonly Dictionary<Guid, RingKey> _byId = [];
    private readonly Dictionary<string, RingKey> _drafts = new(StringComparer.Ordinal);
    private object? _transaction;

    /// <summary>Whether rows that are read now may name keys that are not committed yet: that a key is unknown then says nothing of later.</summary>
    public bool InTransaction => findTransaction?.Invoke() is not null;

    public int Count => _byId.Count;

    /// <summary>Holds a key of a ring row; where the same key is held, that one stays and is returned.</summary>
    public RingKey Add(RingKey key)
    {
        ForgetFormer();
        if (_byId.TryGetValue(key.Id, out var held))
        {
            if (!ReferenceEquals(held, key))
            {
                key.Drop();
            }

            held.Entry = key.Entry;
            return held;
        }

        if (_byId.Count == 0)
        {
            _transaction = findTransaction?.Invoke();
        }

        _byId.Add(key.Id, key);
        if (key.Key.Purpose == KeyPurpose.Field)
        {
            KeyRingRegistry.AddTransient(key);
        }

        return key;
    }

    /// <summary>Holds a new row's key, whose ring row travels with the row.</summary>
    public void AddDraft(RingKey key)
    {
        Add(key);
        _drafts[key.Scope] = key;
    }

    public bool TryGetDraft(string scope, out RingKey key)
    {
        ForgetFormer();
        return _drafts.TryGetValue(scope, out key!);
    }

    /// <summary>A data key; no kek opens a value. None outside of a transaction: what was made for one that did not begin stands in no row.</summary>
    public bool TryGetForOpening(Guid id, out RingKey key)
    {
        ForgetFormer();
        return _byId.TryGetValue(id, out key!) && key.Key.Purpose == KeyPurpose.Field && (findTransaction is null || _transaction is not null);
    }

    /// <summary>A key of any purpose.</summary>
    public bool TryGet(Guid id, out RingKey key)
    {
        ForgetFormer();
        return _byId.TryGetValue(id, out key!);
    }

    /// <summary>Forgets the keys of a transaction that is over: what it made is committed, and read again from its rows, or gone.</summary>
    public void ForgetEnded()
    {
        if (_byId.Count > 0 && (findTransaction?.Invoke() is not { } open || !open.Equals(_transaction)))
        {
            Clear();
        }
    }

    /// <summary>The same while a save is under way, which makes keys before EF begins its transaction: those stay until one has begun.</summary>
    private void ForgetFormer()
    {
        if (_byId.Count > 0 && findTransaction is not null && !Equals(findTransaction(), _transaction))
        {
            Clear();
        }
    }

    public void Clear()
    {
        foreach (var key in _byId.Values)
        {
            key.Drop();
        }

        _byId.Clear();
        _drafts.Clear();
        _transaction = null;
    }

    public void Dispose() => Clear();
}
