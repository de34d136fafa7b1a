using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>How many cells name which key, over every encrypted column of a model. Immutable.</summary>
/// <param name="TakenAt">When the census began, UTC.</param>
/// <param name="Entries">By table, column and key; row keys together, by their kek and state.</param>
public sealed record EnvelopeCensus(DateTimeOffset TakenAt, IReadOnlyList<CensusEntry> Entries)
{
    private readonly Dictionary<Guid, long> _byKey = Index(Entries, e => e.KeyId);
    private readonly Dictionary<Guid, long> _byKek = Index(Entries, e => e.KekId);

    private readonly HashSet<(Guid KekId, KeyState State)> _together = [.. Entries.Where(e => e.RowKeys is not null).Select(e => (e.KekId!.Value, e.State!.Value))];

    private readonly HashSet<Guid> _tooMany = [.. Entries.Where(e => e.IsTooMany).Select(e => e.KekId!.Value)];

    /// <summary>
    /// Databases over the same ring that hold encrypted columns too, and that were neither counted here nor, since the last change of a retired key, by a job or a census report of their own that found none: while there is one, no census of
    /// this database alone proves that a key is out of use. Empty where the ring has one database.
    /// </summary>
    public IReadOnlyList<string> OtherDatabases { get; init; } = [];

    /// <summary>
    /// Columns of this database that the ring lists and the database does not have, by that name and search path: a table was renamed, moved or dropped. Nobody can say where their cells are, so that while there is one no census proves
    /// that a key is out of use. <see cref="EnvelopeKeys.ForgetColumnAsync"/> takes one off the list.
    /// </summary>
    public IReadOnlyList<RegisteredColumn> MissingColumns { get; init; } = [];

    /// <summary>Whether it was taken on a standby, which lags behind.</summary>
    internal bool IsOfStandby { get; init; }

    /// <summary>Tables of other contexts that the ring lists and this role may not read.</summary>
    internal IReadOnlyList<string> UnreadableTables { get; init; } = [];

    /// <summary>Tables like the listed ones that another session held, so that they could not be counted.</summary>
    internal IReadOnlyList<string> BusyTables { get; init; } = [];

    /// <summary>Whether the ring serves other databases, counted or not.</summary>
    internal bool IsShared { get; init; }

    /// <summary>What keeps this census from being one of all cells; null where nothing does.</summary>
    internal string? NotAllBecause => NotOwnBecause ?? OthersBecause;

    /// <summary>The databases that have not been counted; null where there is none.</summary>
    internal string? OthersBecause
        => OtherDatabases.Count == 0 ? null
            : $"the ring also serves {OtherDatabases.Count} database(s) that this census does not count, and that no job or census of their own has proven since the keys changed last: {string.Join(", ", OtherDatabases)}. Run `reencrypt`, or `census --report`, in each of them, then this again; `databases forget` takes one that is gone off the ring's list";

    /// <summary>What keeps this census from being one of all cells of its own database; null where nothing does.</summary>
    internal string? NotOwnBecause
        => IsOfStandby
            ? "the census was taken on a standby, which lags behind: connect to the primary (`Target Session Attributes=primary` where the connection string names several hosts)"
            : UnreadableTables.Count > 0
            ? $"this role may not read all of {UnreadableTables.Count} table(s) that other contexts over the ring declare: {string.Join(", ", UnreadableTables.Take(10))}{(UnreadableTables.Count > 10 ? " and others" : "")}. When each has been re-encrypted by its own application, take a census with a role that may read them all"
            : BusyTables.Count > 0
            ? $"{BusyTables.Count} table(s) that nobody listed, and whose columns are named like encrypted ones, were locked by another session and not counted: {string.Join(", ", BusyTables.Take(10))}{(BusyTables.Count > 10 ? " and others" : "")}. Run it again when that is over"
            : MissingColumns is [var first, ..]
            ? $"the ring lists {MissingColumns.Count} column(s) that are not found in the database: {string.Join(", ", MissingColumns.Take(10).Select(c => $"{c.Table}.{c.Column}"))}{(MissingColumns.Count > 10 ? " and others" : "")}. Where a table was renamed or moved, let the application of the new name save once, or run its job; then, and for one that was dropped, `columns forget --table \"{first.Table}\" --column \"{first.Column}\"` takes it off the ring's list"
            : null;

    /// <summary>
    /// Cells of which nobody can say whether their key may stay in use: the ring does not hold it, or not the kek above it. Rows of a ring are never deleted by EfEnvelope, so its row was lost, or the cell is foreign. It stands
    /// in the way of no other key's end, since it does not name that one.
    /// </summary>
    internal string? UnknownKeysBecause
    {
        get
        {
            var lost = Entries.Where(e => e is { KekId: not null, KekState: null, State: not KeyState.Destroyed }).ToList();
            var unknown = Entries.Where(e => e is { State: null, Keys: > 0 }).ToList();
            var ids = unknown.Select(e => e.KeyId).Concat(lost.Select(e => e.KekId)).OfType<Guid>().Distinct().ToList();
            return lost.Count + unknown.Count == 0 ? null
                : $"{lost.Concat(unknown).Sum(e => e.Cells)} cell(s) name keys, or row keys under keks, that the key ring does not hold{(ids.Count > 0 ? $": {string.Join(", ", ids.Take(10))}{(ids.Count > 10 ? " and others" : "")}" : "")}. Restore the ring's rows from an export or a backup, and report again what was reported of these keys since; where there is none, no such cell opens: write them anew";
        }
    }

    /// <summary>Cells in all.</summary>
    public long Cells => Entries.Sum(e => e.Cells);

    /// <summary>Cells that name a key: a scope's, one that the ring does not hold, or a row key that the census was asked for. Any other row key is counted with its kek only (<see cref="CountUnder"/>), and is 0 here.</summary>
    /// <param name="keyId">The key.</param>
    public long CountOf(Guid keyId) => _byKey.GetValueOrDefault(keyId);

    /// <summary>Cells that name row keys under a kek, whatever their state.</summary>
    /// <param name="kekId">The kek.</param>
    public long CountUnder(Guid kekId) => _byKek.GetValueOrDefault(kekId);

    /// <summary>Cells that name a key which may not stay in use: deactivated, compromised, revoked or scheduled for destruction, of row keys also when their kek is (<see cref="CensusEntry.IsStale"/>).</summary>
    public long StaleCells => Entries.Where(e => e.IsStale).Sum(e => e.Cells);

    /// <summary>
    /// Whether a cell names the key, as far as the census tells: of row keys that were to be counted one by one, and were too many, whether one of the same kek and state is named.
    /// </summary>
    internal bool MayName(KeyRingEntry key) => CountOf(key.Id) > 0 || (key.KekId is { } kek && _together.Contains((kek, key.State)));

    /// <summary>
    /// The same, also where the key changed its state since the census, by another operator's hand: whether one of the same kek is named that was too many to be counted one by one, in whatever state, or that was scheduled for
    /// destruction then.
    /// </summary>
    internal bool MayNameSince(KeyRingEntry key)
        => MayName(key) || (key.KekId is { } kek && (_tooMany.Contains(kek) || _together.Contains((kek, KeyState.PendingDestruction))));

    /// <summary>Whether no cell may go on naming a key in this state. Not <see cref="KeyState.Destroyed"/>: what an erasure leaves is meant to stay.</summary>
    internal static bool IsStale(KeyState state) => state is KeyState.Deactivated or KeyState.Compromised or KeyState.Revoked or KeyState.PendingDestruction;

    /// <summary>
    /// The row keys of some entries, by kek and state. The columns of a table are taken to name the same keys, tables to name different ones: rows of one lineage stand in one table, but for history and split tables.
    /// </summary>
    internal IReadOnlyList<RowKeySum> RowKeys(Func<CensusEntry, bool> which)
        => [.. Entries.Where(e => e.RowKeys is not null && which(e))
            .GroupBy(e => (e.Table, e.KekId, e.State)).Select(table => table.Select(e => e.RowKeys!).Aggregate((a, b) => a.Or(b)))
            .GroupBy(k => (k.KekId, k.State)).Select(all => all.Aggregate((a, b) => a.Plus(b)))];

    private static Dictionary<Guid, long> Index(IReadOnlyList<CensusEntry> entries, Func<CensusEntry, Guid?> by)
    {
        var counts = new Dictionary<Guid, long>();
        foreach (var entry in entries)
        {
            if (by(entry) is { } key)
            {
                counts[key] = counts.GetValueOrDefault(key) + entry.Cells;
            }
        }

        return counts;
    }
}
