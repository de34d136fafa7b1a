using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>Takes rows from their stale keys to the keys that follow: loads both, then opens and seals in memory. Used by one worker.</summary>
internal sealed class BatchResealer(EnvelopeSession session, StaleLookup stale) : IDisposable
{
    private readonly KeyRing _ring = session.Ring;
    private readonly TransientKeys _transient = new();

    /// <summary>Row keys that nobody held before the batch.</summary>
    private readonly List<RingKey> _ofBatch = [];

    /// <summary>Why a scope, or the kek above a row, has no key to go on with. Not asked for again in this run.</summary>
    private readonly Dictionary<string, EnvelopeEncryptionException> _refused = new(StringComparer.Ordinal);

    /// <summary>Scopes of the batch's stale keys.</summary>
    private readonly Dictionary<Guid, string> _scopes = [];

    /// <summary>The rows of a batch that name a stale key. To be awaited before anything else is asked of the batch.</summary>
    public ValueTask<ScannedBatch> SelectAsync(TableScan scan, ScannedBatch batch, CancellationToken cancellationToken) => stale.SelectAsync(scan, batch, cancellationToken);

    /// <summary>The cell that replaces a stale one; null where the cell stays.</summary>
    /// <exception cref="EnvelopeEncryptionException">It does not open, or its key has no successor.</exception>
    public object? Reseal(EncryptedTable table, int index, ScannedRow row, Dictionary<Guid, (RingKey Old, RingKey New)> pairs)
    {
        var column = table.Columns[index];
        if (row.Cells[index] is not { } cell)
        {
            return null;
        }

        if (column.Storage == EncryptedStorage.Document)
        {
            var document = (string)cell;
            var resealed = CellResealer.ResealDocument(document, column, id => stale.Contains(id) ? Pair(id) : null);
            return ReferenceEquals(resealed, document) ? null : resealed;
        }

        if (stale.NamedKey(column, cell) is not { } keyId || !stale.Contains(keyId))
        {
            return null;
        }

        var envelope = column.Storage == EncryptedStorage.Armor ? TextArmor.Decode((string)cell) : (byte[])cell;
        var rowId = column.Declaration!.RowBound ? ScopeValue.RowId(row.Key) : null;
        var (oldKey, newKey) = Pair(keyId);
        var result = CellResealer.Reseal(envelope, column.Declaration, oldKey, newKey, rowId);
        return column.Storage == EncryptedStorage.Armor ? TextArmor.Encode(result) : result;

        (RingKey Old, RingKey New) Pair(Guid id)
            => pairs.TryGetValue(id, out var pair) ? pair : throw Explain(id);
    }

    private EnvelopeEncryptionException Explain(Guid id)
    {
        if (_scopes.TryGetValue(id, out var scope) && FindRefusal(scope) is { } refused)
        {
            return refused;
        }

        try
        {
            _ring.GetForOpening(id, _transient);
            return new KeyUnavailableException($"Key {id} has no successor yet. Run the job again.") { KeyId = id };
        }
        catch (EnvelopeEncryptionException error)
        {
            return error;
        }
    }

    private EnvelopeEncryptionException? FindRefusal(string scope) => _refused.GetValueOrDefault(scope) ?? _refused.GetValueOrDefault(Source(scope));

    /// <summary>What a scope's key is had from: of a row its parent's kek, of any other the key service.</summary>
    private static string Source(string scope) => KeyScope.KindOf(scope) == ScopeKind.Row ? "kek " + KeyScope.ParentOf(scope) : scope;

    /// <summary>Awaits, before anything is opened, the keys that the batch's cells name and the keys that take over.</summary>
    public async Task<Dictionary<Guid, (RingKey Old, RingKey New)>> LoadKeysAsync(EncryptedTable table, IReadOnlyCollection<ScannedRow> rows, KeyPins pins, CancellationToken cancellationToken)
    {
        LetGo();
        _scopes.Clear();
        var ids = new HashSet<Guid>();
        foreach (var row in rows)
        {
            for (var i = 0; i < row.Cells.Length; i++)
            {
                foreach (var id in NamedKeys(table.Columns[i], row.Cells[i]))
                {
                    if (stale.Contains(id))
                    {
                        ids.Add(id);
                    }
                }
            }
        }

        var store = session.OpenStore();
        var held = ids.Where(_ring.Holds).ToHashSet();
        await _ring.LoadForOpeningAsync(ids, store, _transient, pins, cancellationToken).ConfigureAwait(false);
        var old = new List<RingKey>();
        foreach (var id in ids)
        {
            if (pins.TryGet(id, out var key))
            {
                old.Add(key);
                _scopes[id] = key.Scope;
            }
        }

        _ofBatch.AddRange(old.Where(k => k.Kind == ScopeKind.Row && !held.Contains(k.Id)));
        var rowScopes = old.Where(k => k.Kind == ScopeKind.Row && FindRefusal(k.Scope) is null).Select(k => k.Scope).Distinct(StringComparer.Ordinal).ToList();
        var sealing = rowScopes.Where(_ring.HoldsSealing).ToHashSet(StringComparer.Ordinal);
        var successors = new Dictionary<string, RingKey>(StringComparer.Ordinal);
        await LoadSuccessorsAsync(rowScopes, scopes => new(_ring.RotateRowKeysAsync(scopes, store, pins, cancellationToken)), successors).ConfigureAwait(false);
        _ofBatch.AddRange(successors.Values.Where(k => !sealing.Contains(k.Scope)));
        _ofBatch.ForEach(k => k.LastUsed = 0);
        var others = old.Where(k => k.Kind != ScopeKind.Row && FindRefusal(k.Scope) is null).Select(k => k.Scope).Distinct(StringComparer.Ordinal).ToList();
        await LoadSuccessorsAsync(others, scopes => _ring.GetForSealingAsync(scopes, store, _transient, pins, cancellationToken), successors).ConfigureAwait(false);
        return old.Where(k => successors.ContainsKey(k.Scope)).ToDictionary(k => k.Id, k => (k, successors[k.Scope]));
    }

    /// <summary>
    /// Loads the keys of scopes at once; where one is refused, of halves, so that it holds up no other scope. Rows' keys under one refused kek are not asked for one by one.
    /// </summary>
    private async Task LoadSuccessorsAsync(List<string> scopes, Func<IReadOnlyCollection<string>, ValueTask<Dictionary<string, RingKey>>> load, Dictionary<string, RingKey> successors)
    {
        if (scopes.Count == 0)
        {
            return;
        }

        try
        {
            foreach (var (scope, key) in await load(scopes).ConfigureAwait(false))
            {
                successors[scope] = key;
            }
        }
        catch (EnvelopeEncryptionException error) when (error is KeyRefusedException or KeyRingTamperedException or KeyRevokedException or KeyDestroyedException)
        {
            var parents = scopes.GroupBy(Source, StringComparer.Ordinal).ToList();
            if (scopes.Count == 1 || (parents.Count == 1 && error is KeyRefusedException))
            {
                _refused[scopes.Count == 1 && error is not KeyRefusedException ? scopes[0] : parents[0].Key] = error;
                return;
            }

            // By parent, so that what stands under one kek stays together.
            var inOrder = parents.SelectMany(p => p).ToList();
            var half = parents.Count == 1 ? scopes.Count / 2 : parents.Take(parents.Count / 2).Sum(p => p.Count());
            await LoadSuccessorsAsync(inOrder[..half], load, successors).ConfigureAwait(false);
            await LoadSuccessorsAsync(inOrder[half..], load, successors).ConfigureAwait(false);
        }
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
