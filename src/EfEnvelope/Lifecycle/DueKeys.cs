using EfEnvelope.Keys;

namespace EfEnvelope.Lifecycle;

/// <summary>Keys whose destruction is scheduled: those of scopes one by one, of row keys the first, and how many. Scopes' keys are added first. Not thread safe.</summary>
internal sealed class DueKeys(DateTimeOffset now)
{
    private readonly List<KeyRingEntry> _scopes = [];
    private readonly List<KeyRingEntry> _rowKeys = [];
    private readonly HashSet<Guid> _destroyedKeks = [];
    private readonly HashSet<Guid> _orphanKeks = [];
    private long _waitingScopes;
    private long _waitingRowKeys;

    /// <summary>Keys of scopes whose window is over.</summary>
    public IReadOnlyList<KeyRingEntry> Scopes => _scopes;

    /// <summary>All keys of scopes, and the first row keys, whose window is over.</summary>
    public IEnumerable<KeyRingEntry> Listed => _scopes.Concat(_rowKeys);

    /// <summary>How many row keys' window is over.</summary>
    public long RowKeys { get; private set; }

    /// <summary>How many keys are within their window.</summary>
    public int Waiting => (int)Math.Min(int.MaxValue, _waitingScopes + _waitingRowKeys);

    /// <summary>Destroyed keks with row keys that are not.</summary>
    public IReadOnlyCollection<Guid> OrphanKeks => _orphanKeks;

    public bool IsEmpty => _scopes.Count == 0 && RowKeys == 0;

    /// <summary>Forgets the row keys.</summary>
    public void Restart()
    {
        _rowKeys.Clear();
        _orphanKeks.Clear();
        (_waitingRowKeys, RowKeys) = (0, 0);
    }

    /// <summary>Adds a key if it is scheduled.</summary>
    public void Add(KeyRingEntry key)
    {
        if (key is { KekId: null, State: KeyState.Destroyed })
        {
            _destroyedKeks.Add(key.Id);
        }
        else if (key.KekId is { } kek && key.State != KeyState.Destroyed && _destroyedKeks.Contains(kek))
        {
            _orphanKeks.Add(kek);
            return;
        }

        if (key.State != KeyState.PendingDestruction)
        {
            return;
        }

        var isDue = KeyResolver.IsDestructionDue(key, now);
        if (key.KekId is null)
        {
            _waitingScopes += isDue ? 0 : 1;
            if (isDue)
            {
                _scopes.Add(key);
            }
        }
        else if (!isDue)
        {
            _waitingRowKeys++;
        }
        else
        {
            if (++RowKeys <= ChangedEntries.MaxRowKeys)
            {
                _rowKeys.Add(key);
            }
        }
    }
}
