using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>Takes rows from their stale keys to the keys that follow: loads both, then opens and seals in memory. Used by one worker.</summary>
internal sealed class BatchResealer(EnvelopeSession session, StaleLookup stale, BlockedKeys blocked) : IDisposable
{
    private readonly KeyRing _ring = session.Ring;
    private readonly TransientKeys _transient = new();

    /// <summary>Row keys that nobody held before the batch.</summary>
    private readonly List<RingKey> _ofBatch = [];

    /// <summary>The rows of a batch that name a stale key. To be awaited before anything else is asked of the batch.</summary>
    public ValueTask<ScannedBatch> SelectAsync(TableScan scan, ScannedBatch batch, CancellationToken cancellationToken) => stale.SelectAsync(scan, batch, cancellationToken);

    /// <summary>The cell that replaces a stale one; null where the cell stays: it names no stale key, or one whose cells are passed over.</summary>
    /// <exception cref="EnvelopeEncryptionException">It does not open.</exception>
    public object? Reseal(EncryptedTable table, int index, ScannedRow row, BatchKeys keys)
    {
        var column = table.Columns[index];
        if (row.Cells[index] is not { } cell)
        {
            return null;
        }

        if (column.Storage == EncryptedStorage.Document)
        {
            var document = (string)cell;
            var resealed = CellResealer.ResealDocument(document, column, id => stale.Contains(id) && !keys.Blocked.ContainsKey(id) ? keys.Pair(id) : null);
            return ReferenceEquals(resealed, document) ? null : resealed;
        }

        if (stale.NamedKey(column, cell) is not { } keyId || !stale.Contains(keyId) || keys.Blocked.ContainsKey(keyId))
        {
            return null;
        }

        var envelope = column.Storage == EncryptedStorage.Armor ? TextArmor.Decode((string)cell) : (byte[])cell;
        var rowId = column.Declaration!.RowBound ? ScopeValue.RowId(row.Key) : null;
        var (oldKey, newKey) = keys.Pair(keyId);
        var result = CellResealer.Reseal(envelope, column.Declaration, oldKey, newKey, rowId);
        return column.Storage == EncryptedStorage.Armor ? TextArmor.Encode(result) : result;
    }

    /// <summary>Why a cell is passed over; null where it is not.</summary>
    public EnvelopeEncryptionException? FindBlocked(EncryptedColumn column, object? cell, BatchKeys keys)
        => NamedKeys(column, cell).Select(id => keys.Blocked.GetValueOrDefault(id)).FirstOrDefault(why => why is not null);

    /// <summary>Awaits, before anything is opened, the keys that the batch's cells name and the keys that take over. What cannot be used is found out once in a pass.</summary>
    /// <param name="table">The table.</param>
    /// <param name="rows">The batch.</param>
    /// <param name="pins">Takes the keys that open.</param>
    /// <param name="lease">Takes the keys that seal.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    public async Task<BatchKeys> LoadKeysAsync(EncryptedTable table, IReadOnlyCollection<ScannedRow> rows, KeyPins pins, SealingLease lease, CancellationToken cancellationToken)
    {
        LetGo();
        var keys = new BatchKeys();
        var ids = new HashSet<Guid>();
        foreach (var row in rows)
        {
            for (var i = 0; i < row.Cells.Length; i++)
            {
                ids.UnionWith(NamedKeys(table.Columns[i], row.Cells[i]).Where(stale.Contains));
            }
        }

        PassOver(ids, keys);
        var store = session.OpenStore();
        var held = ids.Where(_ring.Holds).ToHashSet();
        await _ring.LoadForOpeningAsync(ids, store, _transient, pins, cancellationToken).ConfigureAwait(false);
        var old = new List<RingKey>();
        var unopened = new List<Guid>();
        foreach (var id in ids)
        {
            if (pins.TryGet(id, out var key))
            {
                old.Add(key);
            }
            else
            {
                unopened.Add(id);
            }
        }

        await ExplainAsync(unopened, keys, store, cancellationToken).ConfigureAwait(false);
        _ofBatch.AddRange(old.Where(k => k.Kind == ScopeKind.Row && !held.Contains(k.Id)));
        var successors = new SuccessorLoader(_ring, store, lease.Keys, blocked);
        var sealing = await successors.LoadAsync(old, _transient, cancellationToken).ConfigureAwait(false);
        _ofBatch.AddRange(sealing);
        _ofBatch.ForEach(k => k.LastUsed = 0);
        foreach (var key in old)
        {
            if (successors.Find(key.Scope) is { } next)
            {
                keys.Pairs[key.Id] = (key, next);
            }
            else if (successors.FindError(key.Scope) is { } error)
            {
                keys.Errors[key.Id] = error;
            }
        }

        PassOver(old.Select(k => k.Id).Where(id => !keys.Pairs.ContainsKey(id)).ToHashSet(), keys);
        return keys;
    }

    /// <summary>Takes the keys whose cells are passed over out of a batch's.</summary>
    private void PassOver(HashSet<Guid> ids, BatchKeys keys)
    {
        foreach (var id in ids)
        {
            if (stale.FindBlocked(id, blocked) is { } why)
            {
                keys.Blocked[id] = why;
            }
        }

        ids.ExceptWith(keys.Blocked.Keys);
    }

    /// <summary>Why keys of a batch do not open: a scope's key, and the kek above rows, block all their cells; a row's own key only its own.</summary>
    private async Task ExplainAsync(List<Guid> unopened, BatchKeys keys, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var keks = new Dictionary<Guid, EnvelopeEncryptionException?>();
        foreach (var id in unopened)
        {
            var error = await FindErrorAsync(id, store, cancellationToken).ConfigureAwait(false);
            if (error is KeyUnavailableException)
            {
                keys.Errors[id] = error;
            }
            else if (stale.FindKek(id) is not { } kek)
            {
                blocked.AddKey(id, error);
                keys.Blocked[id] = error;
            }
            else
            {
                if (!keks.TryGetValue(kek, out var why))
                {
                    keks[kek] = why = await _ring.FindKekErrorAsync(kek, store, cancellationToken).ConfigureAwait(false);
                    if (why is not null)
                    {
                        blocked.AddKey(kek, why);
                    }
                }

                (why is null ? keys.Errors : keys.Blocked)[id] = why ?? (IsOfKek(error) ? new KeyUnavailableException($"Key {id} was refused because of its kek a moment ago, and the kek can be used again. Run the job again.", error) { KeyId = id } : error);
            }
        }
    }

    /// <summary>
    /// Whether a row key's error is what its kek's was: the ring remembers it for some seconds, the kek may be used by now, and then nothing is wrong with the row. The key service is asked for no row key by itself, hence never refuses one.
    /// </summary>
    private static bool IsOfKek(EnvelopeEncryptionException error)
        => error is KeyRefusedException || error.InnerException is KeyRefusedException or KeyRingTamperedException or KeyRevokedException or KeyDestroyedException or KeyNotFoundInRingException;

    /// <summary>The typed error of a key that was not loaded. One that the ring holds, and that was only forgotten again, is told as such: a job tries again.</summary>
    private async Task<EnvelopeEncryptionException> FindErrorAsync(Guid id, IKeyRingStore store, CancellationToken cancellationToken)
    {
        try
        {
            _ring.GetForOpening(id, _transient);
        }
        catch (EnvelopeEncryptionException error) when (error is not KeyNotFoundInRingException)
        {
            return error;
        }
        catch (KeyNotFoundInRingException error)
        {
            if ((await store.FindByIdAsync([id], cancellationToken).ConfigureAwait(false)).Count == 0)
            {
                return error;
            }
        }

        return new KeyUnavailableException($"Key {id} was loaded and let go of again before it was used: the ring changes, or holds more keys than MaxCachedKeys. Run the job again.") { KeyId = id };
    }

    /// <summary>Also of cells that are cut off behind their header: without its keys such a cell would not be told from one whose key has no successor.</summary>
    private IEnumerable<Guid> NamedKeys(EncryptedColumn column, object? cell)
        => cell is null || column.Storage == EncryptedStorage.Document ? KeyIds(column, cell) : stale.NamedKey(column, cell) is { } id ? [id] : [];

    public static IEnumerable<Guid> KeyIds(EncryptedColumn column, object? cell)
    {
        switch (cell)
        {
            case byte[] bytes when EnvelopeCodec.TryReadKeyId(bytes, out var id):
                return [id];
            case string text when column.Storage == EncryptedStorage.Armor:
                return TextArmor.TryReadKeyId(text, out var armored) ? [armored] : [];
            case string document:
                return Documents.Find(document).Select(d => d.KeyId);
            default:
                return [];
        }
    }

    /// <summary>The key that a cell is listed under in quarantine; null where none can be read.</summary>
    public Guid? ListedKey(EncryptedColumn column, object cell)
        => stale.NamedKey(column, cell) ?? KeyIds(column, cell).Select(id => (Guid?)id).FirstOrDefault();

    /// <summary>The former batch's pins are gone by then.</summary>
    private void LetGo()
    {
        _ring.LetGo(_ofBatch);
        _ofBatch.Clear();
    }

    public void Dispose()
    {
        LetGo();
        _transient.Dispose();
    }
}
