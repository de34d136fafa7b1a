using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Tells the stale keys among those that a batch's cells name, by their headers. Keys of scopes are known beforehand; row keys are looked up in the ring, authenticated, batch by batch, so that nobody holds a list of them. Used by one
/// worker.
/// </summary>
internal sealed class StaleLookup(EnvelopeSession session, StaleKeys stale)
{
    /// <summary>Ids whose answer is remembered: those of scope keys come again with every batch, those of row keys hardly ever.</summary>
    private const int MaxKnown = 10_000;

    /// <summary>The keks of the ids that name a stale row key; null for all others.</summary>
    private readonly Dictionary<Guid, Guid?> _known = [];

    /// <summary>The scopes above the rows of these keks.</summary>
    private readonly Dictionary<Guid, string> _parents = [];

    /// <summary>Looks up what a batch names, and keeps its rows that name a stale key: all of them where the database has filtered.</summary>
    public async ValueTask<ScannedBatch> SelectAsync(TableScan scan, ScannedBatch batch, CancellationToken cancellationToken)
    {
        if (scan.Filter.IsNamed)
        {
            return batch;
        }

        await LookUpAsync(scan.Table, batch.Rows, cancellationToken).ConfigureAwait(false);
        return batch with { Rows = batch.Rows.FindAll(row => NamesStale(scan.Table, row)) };
    }

    private bool NamesStale(EncryptedTable table, ScannedRow row)
    {
        for (var i = 0; i < row.Cells.Length; i++)
        {
            if (NamesStale(table.Columns[i], row.Cells[i]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether a cell of a batch that was looked up names a stale key.</summary>
    public bool NamesStale(EncryptedColumn column, object? cell)
    {
        foreach (var id in NamedKeys(column, cell))
        {
            if (Contains(id))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>How many envelopes of a cell that was looked up name a stale key, as a census counts them.</summary>
    public int CountStale(EncryptedColumn column, object? cell)
        => column.Storage == EncryptedStorage.Document ? NamedKeys(column, cell).Count(Contains) : NamesStale(column, cell) ? 1 : 0;

    /// <summary>How many of these name a key whose cells are passed over.</summary>
    public int CountBlocked(EncryptedColumn column, object? cell, BlockedKeys blocked)
        => blocked.Count == 0 || cell is null ? 0
            : column.Storage == EncryptedStorage.Document ? NamedKeys(column, cell).Count(id => FindBlocked(id, blocked) is not null)
            : NamedKey(column, cell) is { } named && FindBlocked(named, blocked) is not null ? 1 : 0;

    /// <summary>Why the cells of a stale key are passed over; null where they are not, and where the key is not stale.</summary>
    public EnvelopeEncryptionException? FindBlocked(Guid id, BlockedKeys blocked)
        => stale.Find(id) is { } key ? blocked.Find(id, key.Scope) : FindKek(id) is { } kek ? blocked.FindRows(kek, _parents[kek]) : null;

    /// <summary>The kek of a stale row key of a batch that was looked up; null for any other id.</summary>
    public Guid? FindKek(Guid id) => _known.GetValueOrDefault(id);

    /// <summary>Whether a key of a batch that was looked up is stale.</summary>
    public bool Contains(Guid id) => stale.Contains(id) || FindKek(id) is not null;

    /// <summary>The key that a cell names by its header, as the census reads it: also of one that was cut off behind it, which then does not open. Of text that shows only a part of the id, the stale one; null where there is none.</summary>
    public Guid? NamedKey(EncryptedColumn column, object cell)
    {
        switch (cell)
        {
            case byte[] bytes:
                return bytes.Length >= EnvelopeLayout.BoundHeaderBytes && bytes[0] == EnvelopeLayout.Marker ? EnvelopeLayout.KeyId(bytes) : null;
            case string text when column.Storage == EncryptedStorage.Armor:
                return TextArmor.TryReadKeyId(text, out var id) ? id
                    : ArmorHeader.TryRead(text, out var candidates) && Array.FindIndex(candidates, Contains) is >= 0 and var at ? candidates[at] : null;
            default:
                return null;
        }
    }

    /// <summary>Every key that a cell may name.</summary>
    private static IEnumerable<Guid> NamedKeys(EncryptedColumn column, object? cell) => cell switch
    {
        byte[] bytes => bytes.Length >= EnvelopeLayout.BoundHeaderBytes && bytes[0] == EnvelopeLayout.Marker ? [EnvelopeLayout.KeyId(bytes)] : [],
        string text when column.Storage == EncryptedStorage.Armor => TextArmor.TryReadKeyId(text, out var id) ? [id] : ArmorHeader.TryRead(text, out var candidates) ? candidates : [],
        string document => Documents.Find(document).Select(d => d.KeyId),
        _ => [],
    };

    private async Task LookUpAsync(EncryptedTable table, List<ScannedRow> rows, CancellationToken cancellationToken)
    {
        if (_known.Count >= MaxKnown)
        {
            _known.Clear();
        }

        var unknown = new HashSet<Guid>();
        foreach (var row in rows)
        {
            for (var i = 0; i < row.Cells.Length; i++)
            {
                foreach (var id in NamedKeys(table.Columns[i], row.Cells[i]))
                {
                    if (!stale.Contains(id) && !_known.ContainsKey(id))
                    {
                        unknown.Add(id);
                    }
                }
            }
        }

        foreach (var key in await session.Ring.FindByIdAsync(unknown, session.OpenStore(), cancellationToken).ConfigureAwait(false))
        {
            _known[key.Id] = stale.IsStale(key) ? key.KekId : null;
            if (key.KekId is { } kek)
            {
                _parents.TryAdd(kek, KeyScope.ParentOf(key.Scope));
            }

            unknown.Remove(key.Id);
        }

        foreach (var id in unknown)
        {
            _known[id] = null;
        }
    }
}
