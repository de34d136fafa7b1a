using EfEnvelope.Keys;

namespace EfEnvelope.Census;

/// <summary>
/// Adds up the cells of one column by the key that they name, as they are read. Scope keys count one by one; ids that are none of them wait until there are enough to look them up in the ring, and row keys are then added up by kek and
/// state: the memory does not grow with their number. Not thread safe.
/// </summary>
/// <param name="book">The ring's keys.</param>
/// <param name="table">The table, as the census names it.</param>
/// <param name="column">The column.</param>
/// <param name="single">Row keys that are to be counted one by one, as far as they are at most <see cref="MaxListed"/>; null for none.</param>
internal sealed class ColumnTally(KeyBook book, string table, string column, Func<KeyRingEntry, bool>? single)
{
    /// <summary>Ids that are listed one by one, of those whose number nobody bounds: foreign ones, and row keys that were asked for.</summary>
    public const int MaxListed = 1_000;

    /// <summary>Ids that are looked up in the ring at once.</summary>
    private const int MaxWaiting = 1_000;

    private readonly Dictionary<Guid, (KeyRingEntry? Key, long Cells)> _listed = [];
    private readonly RowKeyTally _rowKeys = new();
    private readonly Dictionary<Guid, long> _waiting = [];

    /// <summary>By the first of the four ids that begin alike.</summary>
    private readonly Dictionary<Guid, (Guid[] Candidates, long Cells)> _waitingArmor = [];

    /// <summary>What was to be counted one by one, and was too many.</summary>
    private readonly HashSet<(Guid KekId, KeyState State)> _tooMany = [];

    private long _notEnvelopes;
    private int _foreign;
    private int _single;
    private (long Keys, long Cells) _furtherForeign;

    /// <summary>Whether <see cref="ResolveAsync"/> is due.</summary>
    public bool IsFull => _waiting.Count + (4 * _waitingArmor.Count) >= MaxWaiting;

    /// <summary>Cells that are not envelopes.</summary>
    public void AddOther(long cells) => _notEnvelopes += cells;

    /// <summary>Cells that name a key by its whole id.</summary>
    public void Add(Guid key, long cells)
    {
        if (!TryList(key, cells))
        {
            _waiting[key] = _waiting.GetValueOrDefault(key) + cells;
        }
    }

    /// <summary>Cells that name one of four keys, by all but the last two bits of its id.</summary>
    public void Add(Guid[] candidates, long cells)
    {
        foreach (var candidate in candidates)
        {
            if (TryList(candidate, cells))
            {
                return;
            }
        }

        _waitingArmor[candidates[0]] = (candidates, _waitingArmor.GetValueOrDefault(candidates[0]).Cells + cells);
    }

    /// <summary>Looks up what waits. To be awaited now and then while a column is read, and at its end.</summary>
    public async ValueTask ResolveAsync(CancellationToken cancellationToken)
    {
        if (_waiting.Count == 0 && _waitingArmor.Count == 0)
        {
            return;
        }

        var found = await book.FindAsync([.. _waiting.Keys, .. _waitingArmor.Values.SelectMany(w => w.Candidates)], cancellationToken).ConfigureAwait(false);
        foreach (var (id, cells) in _waiting)
        {
            if (found.TryGetValue(id, out var key))
            {
                AddKnown(key, cells);
            }
            else
            {
                AddForeign(id, cells);
            }
        }

        foreach (var (candidates, cells) in _waitingArmor.Values)
        {
            if (candidates.FirstOrDefault(found.ContainsKey) is var id && found.TryGetValue(id, out var key))
            {
                AddKnown(key, cells);
            }
            else
            {
                // Which of the four ids it is cannot be said.
                _furtherForeign = (_furtherForeign.Keys + 1, _furtherForeign.Cells + cells);
            }
        }

        _waiting.Clear();
        _waitingArmor.Clear();
    }

    /// <summary>What was counted, once nothing waits.</summary>
    public IEnumerable<CensusEntry> Entries()
    {
        if (_notEnvelopes > 0)
        {
            yield return new CensusEntry(table, column, null, null, null, _notEnvelopes);
        }

        foreach (var (id, (key, cells)) in _listed)
        {
            yield return new CensusEntry(table, column, id, key?.Scope, key?.State, cells) { KekId = key?.KekId, KekState = KekState(key?.KekId) };
        }

        foreach (var (keys, cells) in _rowKeys.Sums)
        {
            yield return new CensusEntry(table, column, null, KeyScope.ForAllRows(keys.Parent), keys.State, cells) { Keys = keys.Keys, KekId = keys.KekId, KekState = KekState(keys.KekId), RowKeys = keys, IsTooMany = _tooMany.Contains((keys.KekId, keys.State)) };
        }

        if (_furtherForeign.Keys > 0)
        {
            yield return new CensusEntry(table, column, null, null, null, _furtherForeign.Cells) { Keys = _furtherForeign.Keys };
        }
    }

    private KeyState? KekState(Guid? kek) => kek is { } id ? book.Find(id)?.State : null;

    /// <summary>Counts what is listed already, and keys of scopes.</summary>
    private bool TryList(Guid id, long cells)
    {
        if (_listed.TryGetValue(id, out var listed))
        {
            _listed[id] = (listed.Key, listed.Cells + cells);
            return true;
        }

        if (book.Find(id) is not { } key)
        {
            return false;
        }

        _listed[id] = (key, cells);
        return true;
    }

    private void AddKnown(KeyRingEntry key, long cells)
    {
        var isSingle = key.KekId is not null && single is not null && single(key);
        if (key.KekId is null || (isSingle && _single < MaxListed))
        {
            _single += key.KekId is null ? 0 : 1;
            _listed[key.Id] = (key, _listed.GetValueOrDefault(key.Id).Cells + cells);
        }
        else
        {
            _rowKeys.Add(key, cells);
            if (isSingle)
            {
                _tooMany.Add((key.KekId.Value, key.State));
            }
        }
    }

    private void AddForeign(Guid id, long cells)
    {
        if (_foreign < MaxListed)
        {
            _foreign++;
            _listed[id] = (null, cells);
        }
        else
        {
            _furtherForeign = (_furtherForeign.Keys + 1, _furtherForeign.Cells + cells);
        }
    }
}
