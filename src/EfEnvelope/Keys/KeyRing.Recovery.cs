using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Export and import of the wrapped ring. An import writes nothing before the whole document is proven, and goes only into an empty ring or the same one. It adds what is missing and tightens states; it
/// never loosens one: what was compromised, revoked or destroyed in the meantime stays so, and what the document says was destroyed is destroyed again.
/// </summary>
internal sealed partial class KeyRing
{
    private const int ExportChunk = 1_000;
    private const int ImportChunk = 500;

    public async Task<long> ExportAsync(Stream target, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        using var pins = new KeyPins();
        var mac = Hold(await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false), pins);

        // The epoch is read first: a change that comes in between is in the document, under an epoch that does not know it.
        var identity = await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        var header = new RingDocument.Header { Format = RingDocument.CurrentFormat, Ring = identity.Id, Salt = identity.Salt, Epoch = identity.Epoch, ExportedAt = Now() };
        using var document = new RingDocumentWriter(target, header);
        await document.BeginAsync(cancellationToken).ConfigureAwait(false);
        if (await store.FindByIdAsync([mac.Id], cancellationToken).ConfigureAwait(false) is not [var first])
        {
            throw Tampered(mac.Id, $"The ring's mac key {mac.Id} has no row any more: it was deleted. Restore the row, and export again. What was written is no whole document.");
        }

        Verify(mac.Key, identity.Id, first);
        await document.AddAsync([first], cancellationToken).ConfigureAwait(false);

        // Scope keys come first, for those who read and save while a ring is brought back; those that were made meanwhile behind the row keys, which may be under them; then whatever changed since the beginning
        // once more, which an import takes for the stricter of both.
        var written = new HashSet<Guid> { mac.Id };
        var scopes = new RingFilter { IsScopeKey = true };
        await AddPagesAsync(scopes, entry => written.Add(entry.Id)).ConfigureAwait(false);
        await AddPagesAsync(RingFilter.RowKeys, _ => true).ConfigureAwait(false);
        await AddPagesAsync(scopes, entry => !written.Contains(entry.Id)).ConfigureAwait(false);
        await AddPagesAsync(new RingFilter { ChangedSince = identity.Epoch }, _ => true).ConfigureAwait(false);
        await document.EndAsync(mac.Key, cancellationToken).ConfigureAwait(false);
        _audit.RingExported(identity.Id, document.Keys);
        return document.Keys;

        async Task AddPagesAsync(RingFilter filter, Func<KeyRingEntry, bool> which)
        {
            Guid? after = null;
            while (await store.PageAsync(filter, after, ExportChunk, cancellationToken).ConfigureAwait(false) is { Count: > 0 } page)
            {
                foreach (var entry in page)
                {
                    Verify(mac.Key, identity.Id, entry);
                }

                await document.AddAsync(page.Where(which), cancellationToken).ConfigureAwait(false);
                after = page[^1].Id;
            }
        }
    }

    /// <param name="source">The document: read twice, from where it stands.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the import between two rows.</param>
    public async Task<KeyRingImport> ImportAsync(Stream source, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (store.IsTransient)
        {
            throw new EnvelopeConfigurationException("A key ring cannot be imported inside an open transaction of this SQLite connection: commit it first, or use another context. Nothing was written.");
        }

        var start = source.Position;
        var (identity, macEntry, mac) = await ProveAsync(source, cancellationToken).ConfigureAwait(false);
        using (mac)
        {
            await TakeOverAsync(identity, macEntry, store, cancellationToken).ConfigureAwait(false);
            source.Position = start;
            var undecided = new Dictionary<Guid, KeyRingEntry>();
            var report = await WriteAsync(source, undecided, identity, mac, store, cancellationToken).ConfigureAwait(false);
            await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
            _audit.RingImported(identity.Id, report.Added + report.Changed);
            return undecided.Count == 0 ? report : throw Undecided(undecided.Values, report);
        }
    }

    /// <summary>Reads the whole document, and keeps none of it but its mac key: the caller's to dispose of.</summary>
    private async Task<(RingIdentity Identity, KeyRingEntry MacEntry, DataKey Mac)> ProveAsync(Stream source, CancellationToken cancellationToken)
    {
        KeyRingEntry? macEntry = null;
        DataKey? mac = null;
        try
        {
            var document = await RingDocumentReader.OpenAsync(source, null, cancellationToken).ConfigureAwait(false);
            await using (document.ConfigureAwait(false))
            {
                await foreach (var entry in document.ReadKeysAsync(cancellationToken).ConfigureAwait(false))
                {
                    if (mac is null)
                    {
                        macEntry = entry is { Purpose: KeyPurpose.Mac, Scope: KeyScope.Global }
                            ? entry
                            : throw new KeyRingTamperedException("The ring export holds no mac key: it was changed. Take another copy. Nothing was written.");
                        mac = await UnwrapAsync(entry, document.Header.Identity, cancellationToken).ConfigureAwait(false);
                    }

                    Verify(mac, document.Header.Ring, entry);
                }

                if (mac is null || !document.IsGenuine(mac))
                {
                    _audit.RingTampered(null);
                    throw new KeyRingTamperedException("The ring export was changed since it was written (it does not authenticate). Take another copy. Nothing was written.");
                }

                return (document.Header.Identity, macEntry!, mac);
            }
        }
        catch
        {
            mac?.Dispose();
            throw;
        }
    }

    private async Task TakeOverAsync(RingIdentity identity, KeyRingEntry macEntry, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (!await store.TryTakeOverAsync(identity, macEntry, cancellationToken).ConfigureAwait(false))
        {
            throw new EnvelopeConfigurationException(
                $"The database holds keys of another key ring than the export's ({identity.Id}). An export goes into an empty ring or the one it was taken from; two rings are never mixed. Nothing was written.");
        }

        Invalidate();
        if (KeyResolver.FindSealing(await store.FindByScopeAsync([KeyScope.Global], KeyPurpose.Mac, cancellationToken).ConfigureAwait(false))?.Id != macEntry.Id)
        {
            _audit.RingTampered(macEntry.Id);
            throw new KeyRingTamperedException("The database's ring authenticates its rows with another key than the export does: its mac key's row was changed or replaced. Delete that row, or restore the ring's tables, and import again. No key was written.")
            {
                KeyId = macEntry.Id,
            };
        }
    }

    /// <summary>Reads the document again, and writes what it holds as it goes on: each row is proven anew, for the source may have changed meanwhile.</summary>
    private async Task<KeyRingImport> WriteAsync(Stream source, Dictionary<Guid, KeyRingEntry> undecided, RingIdentity identity, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var report = new KeyRingImport(0, 0, 0);
        var document = await RingDocumentReader.OpenAsync(source, ChangedMeanwhile, cancellationToken).ConfigureAwait(false);
        await using (document.ConfigureAwait(false))
        {
            var chunk = new List<KeyRingEntry>(ImportChunk);
            var ids = new HashSet<Guid>();
            await foreach (var entry in document.ReadKeysAsync(cancellationToken).ConfigureAwait(false))
            {
                Verify(mac, identity.Id, entry);
                if (chunk.Count == ImportChunk || !ids.Add(entry.Id))
                {
                    // A key that changed during the export comes twice: the second is merged with what the first has written.
                    report = await WriteAsync(chunk, report, undecided, identity.Id, mac, store, cancellationToken).ConfigureAwait(false);
                    chunk.Clear();
                    ids.Clear();
                    ids.Add(entry.Id);
                }

                chunk.Add(entry);
            }

            report = await WriteAsync(chunk, report, undecided, identity.Id, mac, store, cancellationToken).ConfigureAwait(false);
            return document.IsGenuine(mac)
                ? report
                : throw ChangedMeanwhile();
        }
    }

    private KeyRingTamperedException Undecided(IReadOnlyCollection<KeyRingEntry> rows, KeyRingImport report)
    {
        foreach (var row in rows)
        {
            _audit.RingTampered(row.Id);
        }

        return new KeyRingTamperedException(
            $"The import added {report.Added} key(s) and changed {report.Changed}; but {KeyMetadataMac.Describe(rows)} changed by somebody else than EfEnvelope, and say that their keys are revoked, destroyed or about to be, of which the export knows nothing. They were left as they are, and open nothing. Where the audit log knows of no such end, delete those rows from the ring's table and import again: they come back as the export has them. Where it does, let that end stand: do the same, and then revoke or erase anew.")
        {
            KeyId = rows.First().Id,
        };
    }

    private static KeyRingTamperedException ChangedMeanwhile(Exception? cause = null)
        => new("The ring export was changed while it was imported. What was written so far are genuine keys of this ring. Take another copy, and import again.", cause);

    private async Task<KeyRingImport> WriteAsync(List<KeyRingEntry> chunk, KeyRingImport report, Dictionary<Guid, KeyRingEntry> undecided, Guid ringId, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (added, changed, unchanged) = (0, 0, 0);
        var held = (await store.FindByIdAsync([.. chunk.Select(e => e.Id)], cancellationToken).ConfigureAwait(false)).ToDictionary(e => e.Id);
        var missing = chunk.Where(e => !held.ContainsKey(e.Id)).ToList();
        if (missing.Count > 0)
        {
            added = await AddAsync(missing, ringId, mac, store, cancellationToken).ConfigureAwait(false);
        }

        foreach (var entry in chunk)
        {
            if (!held.TryGetValue(entry.Id, out var present))
            {
                continue;
            }

            if (!KeyMetadataMac.IsGenuine(mac, ringId, present) && KeyResolver.IsUndecided(present, entry))
            {
                undecided[entry.Id] = present;
            }
            else if (await MergeAsync(entry, present, ringId, mac, store, cancellationToken).ConfigureAwait(false))
            {
                changed++;
            }
            else
            {
                unchanged++;
            }
        }

        return new KeyRingImport(report.Added + added, report.Changed + changed, report.Unchanged + unchanged);
    }

    /// <summary>
    /// Inserts what the ring lacks. Where the ring went on without a key that seals - a newer version is there, or one that seals -, the document's no longer does: it may have been rotated or reported since. Where the ring made another
    /// key of that scope and version meanwhile, the document's gets the next free version. Rows that name it open again.
    /// </summary>
    private async Task<int> AddAsync(List<KeyRingEntry> missing, Guid ringId, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var added = await store.RestoreAsync([.. missing.Select(e => KeyMetadataMac.Sign(mac, ringId, Restored(e)))], Retire, cancellationToken).ConfigureAwait(false);
        if (added == missing.Count)
        {
            return added;
        }

        var present = (await store.FindByIdAsync([.. missing.Select(e => e.Id)], cancellationToken).ConfigureAwait(false)).Select(e => e.Id).ToHashSet();
        foreach (var entry in missing.Where(e => !present.Contains(e.Id)))
        {
            for (var attempt = 0; ; attempt++)
            {
                var versions = await store.FindByScopeAsync([entry.Scope], entry.Purpose, cancellationToken).ConfigureAwait(false);
                var moved = Retire(Restored(entry) with { Version = versions.Select(v => v.Version).DefaultIfEmpty().Max() + 1 });
                if (await store.RestoreAsync([moved], Retire, cancellationToken).ConfigureAwait(false) == 1)
                {
                    added++;
                    break;
                }

                if (attempt >= MaxAttempts)
                {
                    throw new KeyUnavailableException($"Key {entry.Id} could not be imported: others change its scope at the same time. Import again.") { KeyId = entry.Id };
                }
            }
        }

        return added;

        static KeyRingEntry Restored(KeyRingEntry entry) => entry with { Revision = checked(entry.Revision + KeyResolver.RestoredRevisions) };

        KeyRingEntry Retire(KeyRingEntry entry)
            => KeyMetadataMac.Sign(mac, ringId, entry with { State = entry.State is KeyState.Active or KeyState.PreActive ? KeyState.Deactivated : entry.State, StateChangedAt = Now() });
    }

    private async Task<bool> MergeAsync(KeyRingEntry entry, KeyRingEntry held, Guid ringId, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            if (KeyResolver.Merge(held, KeyMetadataMac.IsGenuine(mac, ringId, held), entry, Now()) is not { } merged)
            {
                return false;
            }

            if (await store.TryUpdateAsync(KeyMetadataMac.Sign(mac, ringId, merged), cancellationToken).ConfigureAwait(false))
            {
                return true;
            }

            held = (await store.FindByIdAsync([entry.Id], cancellationToken).ConfigureAwait(false)).SingleOrDefault() ?? throw new KeyUnavailableException($"Key {entry.Id} was deleted while it was imported. Import again.") { KeyId = entry.Id };
        }

        throw new KeyUnavailableException($"Key {entry.Id} could not be imported: others change it at the same time. Import again.") { KeyId = entry.Id };
    }
}
