using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>
/// The keys that rows must leave: compromised first, then the oldest. Row keys under a retired kek are stale with it. Keys of scopes are named one by one; of row keys, of which there may be millions, the rule is held, and what the ring
/// or a census counted of them.
/// </summary>
internal sealed class StaleKeys
{
    /// <summary>How far two machines' clocks may be apart before a row key that looks retired long ago may have been retired just now: ten minutes each, in either direction.</summary>
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(20);

    private readonly Dictionary<Guid, KeyRingEntry> _byId;
    private readonly Dictionary<Guid, KeyRingEntry> _keks;
    private readonly HashSet<string>? _rowKeyTables;
    private readonly Part _part;
    private readonly bool _isRetired;

    /// <summary>When this process began to read them; null where nothing is compared with them.</summary>
    private DateTimeOffset? _listedAt;

    private StaleKeys(
        IReadOnlyList<KeyRingEntry> entries, IReadOnlyList<RowKeySum> rowKeys, Dictionary<Guid, KeyRingEntry> keks, Part part, bool isRetired, HashSet<string>? rowKeyTables)
    {
        (Entries, RowKeys, _keks, _part, _isRetired, _rowKeyTables) = (entries, rowKeys, keks, part, isRetired, rowKeyTables);
        _byId = entries.ToDictionary(e => e.Id);
    }

    private enum Part
    {
        All,
        Compromised,
        Others,
    }

    /// <summary>The keys of scopes.</summary>
    public IReadOnlyList<KeyRingEntry> Entries { get; }

    /// <summary>The row keys, by kek and state.</summary>
    public IReadOnlyList<RowKeySum> RowKeys { get; }

    /// <summary>Whether nothing is retired, no kek either.</summary>
    public bool IsEmpty => Entries.Count == 0 && RowKeys.Count == 0 && _keks.Count == 0;

    /// <summary>When the last of them stopped sealing; of a kek, when it stopped wrapping new row keys.</summary>
    public DateTimeOffset LastChange => Entries.Concat(_keks.Values).Select(e => e.StateChangedAt ?? e.CreatedAt).Concat(RowKeys.Select(k => k.ChangedAt)).Max();

    public static StaleKeys Of(RingSummary ring) => Of(ring, isRetired: false);

    /// <summary>Every key that no cell may name: also those that open no more, and that the job cannot treat therefore.</summary>
    /// <param name="ring">The ring.</param>
    /// <param name="listedAt">By this process's clock, when it began to read the ring.</param>
    public static StaleKeys RetiredOf(RingSummary ring, DateTimeOffset listedAt)
    {
        var retired = Of(ring, isRetired: true);
        retired._listedAt = listedAt;
        return retired;
    }

    private static StaleKeys Of(RingSummary ring, bool isRetired)
    {
        var keks = ring.Scopes.Where(e => e.Purpose == KeyPurpose.Kek && EnvelopeCensus.IsStale(e.State)).ToDictionary(e => e.Id);
        return new StaleKeys(
            [.. ring.Scopes.Where(e => e.Purpose == KeyPurpose.Field && (e.State is KeyState.Deactivated or KeyState.Compromised || (isRetired && EnvelopeCensus.IsStale(e.State))))
                .OrderBy(e => e.State == KeyState.Compromised ? 0 : 1).ThenBy(e => e.CreatedAt)],
            [.. ring.RowKeys.Where(k => IsStale(k.KekId, k.State, keks, isRetired))], keks, Part.All, isRetired, rowKeyTables: null);
    }

    /// <summary>What is worked off in turn: first everything that is compromised, then the rest. Each is one pass over the tables, however many keys.</summary>
    public IEnumerable<StaleKeys> Groups()
    {
        foreach (var part in new[] { Part.Compromised, Part.Others })
        {
            var group = new StaleKeys([.. Entries.Where(e => IsIn(part, null, e.State))], [.. RowKeys.Where(k => IsIn(part, k.KekId, k.State))], _keks, part, _isRetired, _rowKeyTables);
            if (group.Entries.Count > 0 || group.RowKeys.Count > 0)
            {
                yield return group;
            }
        }
    }

    /// <summary>Those that cells still name: what was left long ago is not searched for again.</summary>
    public StaleKeys NamedBy(EnvelopeCensus census)
    {
        var inRing = RowKeys.ToDictionary(k => (k.KekId, k.State), k => k.Keys);
        return new StaleKeys(
            [.. Entries.Where(e => census.CountOf(e.Id) > 0)],
            [.. census.RowKeys(IsStale).Select(k => inRing.TryGetValue((k.KekId, k.State), out var most) && most < k.Keys ? k with { Keys = most } : k)],
            _keks, _part, _isRetired, [.. census.Entries.Where(e => e.KekId is not null && IsStale(e)).Select(e => e.Table)]);
    }

    /// <summary>Whether cells of a table may name stale row keys, as far as a census tells: only then are its rows looked at one by one.</summary>
    public bool HasRowKeysIn(string table) => _rowKeyTables?.Contains(table) != false && (RowKeys.Count > 0 || _rowKeyTables is null);

    /// <summary>
    /// Whether each of these keys had stopped sealing when <paramref name="earlier"/> was listed, so that one cut-off holds for both. Row keys stop with their kek. Of those whose kek still seals, a sum that is the same tells; and one
    /// that only became smaller, by what is erased or destroyed meanwhile, and whose last change was long before: a key that stopped sealing since changed since, by some process's clock, and clocks differ by the tolerance at most.
    /// That the earlier sum changed as late would not do: what was destroyed since may hide as many that were retired since, by a clock that is behind the one of the last change.
    /// </summary>
    public bool IsWithin(StaleKeys earlier)
        => Entries.All(e => earlier._byId.ContainsKey(e.Id)) && _keks.Keys.All(earlier._keks.ContainsKey)
            && RowKeys.All(k => earlier._keks.ContainsKey(k.KekId) || earlier.RowKeys.Contains(k) || (k.ChangedAt < earlier._listedAt - ClockTolerance && earlier.RowKeys.Any(e => e.KekId == k.KekId && e.Parent == k.Parent && e.State == k.State && e.Keys > k.Keys)));

    /// <summary>Whether it is a stale key of a scope.</summary>
    public bool Contains(Guid id) => _byId.ContainsKey(id);

    /// <summary>A stale key of a scope.</summary>
    public KeyRingEntry? Find(Guid id) => _byId.GetValueOrDefault(id);

    public bool IsStale(KeyRingEntry key) => key.KekId is { } kek ? IsStale(kek, key.State) : _byId.ContainsKey(key.Id);

    public bool IsStale(CensusEntry entry) => entry is { KekId: { } kek, State: { } state } ? IsStale(kek, state) : entry.KeyId is { } id && _byId.ContainsKey(id);

    private bool IsStale(Guid kek, KeyState state) => IsStale(kek, state, _keks, _isRetired) && IsIn(_part, kek, state);

    private static bool IsStale(Guid kek, KeyState state, Dictionary<Guid, KeyRingEntry> staleKeks, bool isRetired)
        => state != KeyState.Destroyed && (state is KeyState.Deactivated or KeyState.Compromised || staleKeks.ContainsKey(kek) || (isRetired && EnvelopeCensus.IsStale(state)));

    private bool IsIn(Part part, Guid? kek, KeyState state)
        => part == Part.All || (state == KeyState.Compromised || (kek is { } id && _keks.TryGetValue(id, out var above) && above.State == KeyState.Compromised)) == (part == Part.Compromised);
}
