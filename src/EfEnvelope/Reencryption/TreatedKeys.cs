using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>The keys that rows had to leave in the passes of a run: those of scopes one by one, row keys by kek and state. Not thread safe.</summary>
internal sealed class TreatedKeys
{
    private readonly Dictionary<Guid, KeyRingEntry> _scopes = [];
    private readonly Dictionary<(Guid KekId, KeyState State), RowKeySum> _rowKeys = [];

    public IReadOnlyCollection<KeyRingEntry> Scopes => _scopes.Values;

    public IReadOnlyCollection<RowKeySum> RowKeys => _rowKeys.Values;

    /// <summary>The keys of scopes, and of row keys the keks that they are under.</summary>
    public IReadOnlyList<Guid> Ids => [.. _scopes.Keys, .. _rowKeys.Keys.Select(k => k.KekId).Distinct()];

    /// <summary>Adds what a pass is about. A later pass counts what the former ones left of the same row keys.</summary>
    public void Add(StaleKeys named)
    {
        foreach (var entry in named.Entries)
        {
            _scopes[entry.Id] = entry;
        }

        foreach (var keys in named.RowKeys)
        {
            _rowKeys[(keys.KekId, keys.State)] = _rowKeys.TryGetValue((keys.KekId, keys.State), out var former) ? former.Or(keys) : keys;
        }
    }
}
