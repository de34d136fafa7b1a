using System.Diagnostics.CodeAnalysis;

namespace EfEnvelope.Keys;

/// <summary>
/// The keys that one save, command or reader works with: while they are pinned here nobody evicts or zeroes them. Disposing lets them go. Not thread safe.
/// </summary>
internal sealed class KeyPins : IDisposable
{
    private readonly Dictionary<Guid, RingKey> _keys = [];

    public int Count => _keys.Count;

    /// <summary>Those that are pinned now.</summary>
    public IReadOnlyCollection<Guid> Ids => _keys.Count == 0 ? [] : [.. _keys.Keys];

    /// <summary>A pinned key that no longer seals, or that the ring does not hold any more; null where there is none.</summary>
    public RingKey? FindRetired()
    {
        foreach (var key in _keys.Values)
        {
            if (!KeyRing.MaySeal(key) || !key.IsAlive)
            {
                return key;
            }
        }

        return null;
    }

    public bool TryGet(Guid id, [MaybeNullWhen(false)] out RingKey key) => _keys.TryGetValue(id, out key);

    /// <summary>Pins a key; false when it was let go meanwhile and is to be fetched again.</summary>
    /// <param name="key">The key.</param>
    /// <param name="pinned">The pinned key: an equal one where the same key is pinned already.</param>
    public bool TryPin(RingKey key, out RingKey pinned)
    {
        if (_keys.TryGetValue(key.Id, out pinned!))
        {
            return true;
        }

        pinned = key;
        if (!key.TryPin())
        {
            return false;
        }

        _keys.Add(key.Id, key);
        return true;
    }

    /// <summary>Lets one key go that was loaded and not chosen.</summary>
    public void Release(RingKey key)
    {
        if (_keys.Remove(key.Id, out var pinned))
        {
            pinned.Unpin();
        }
    }

    /// <summary>Lets those go that were pinned meanwhile and not chosen.</summary>
    /// <param name="before">Those that were pinned before.</param>
    /// <param name="chosen">The chosen ones.</param>
    public void ReleaseOthers(IReadOnlyCollection<Guid> before, IReadOnlyCollection<RingKey> chosen)
    {
        var kept = chosen.Select(k => k.Id).ToHashSet();
        kept.UnionWith(before);
        foreach (var key in _keys.Values.Where(k => !kept.Contains(k.Id)).ToList())
        {
            Release(key);
        }
    }

    public void Dispose()
    {
        foreach (var key in _keys.Values)
        {
            key.Unpin();
        }

        _keys.Clear();
    }
}
