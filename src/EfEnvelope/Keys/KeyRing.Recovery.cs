using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Export and import of the wrapped ring. An import writes nothing before the whole document is proven, and goes only into an empty ring or the same one. It adds what is missing and tightens states; it
/// never loosens one: what was compromised, revoked or destroyed in the meantime stays so, and what the document says was destroyed is destroyed again.
/// </summary>
internal sealed partial class KeyRing
{
    private const int ImportChunk = 500;

    public async Task<int> ExportAsync(Stream target, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);

        // The epoch is read first: a change that comes in between is in the document, under an epoch that does not know it.
        var identity = await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        var entries = await ListAsync(includeRowKeys: true, store, cancellationToken).ConfigureAwait(false);
        await RingDocument.Create(identity, entries, Now(), mac.Key).WriteAsync(target, cancellationToken).ConfigureAwait(false);
        _audit.RingExported(identity.Id, entries.Count);
        return entries.Count;
    }

    public async Task<(int Added, int Changed, int Unchanged)> ImportAsync(Stream source, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (store.IsTransient)
        {
            throw new EnvelopeConfigurationException("A key ring cannot be imported inside an open transaction of this SQLite connection: commit it first, or use another context. Nothing was written.");
        }

        var (document, entries) = await RingDocument.ReadAsync(source, cancellationToken).ConfigureAwait(false);
        var macEntry = KeyResolver.FindSealing(entries.Where(e => e.Purpose == KeyPurpose.Mac && e.Scope == KeyScope.Global))
            ?? throw new KeyRingTamperedException("The ring export holds no mac key: it was changed. Take another copy. Nothing was written.");
        using var mac = await UnwrapAsync(macEntry, document.Identity, cancellationToken).ConfigureAwait(false);
        Prove(document, entries, mac);
        if (!await store.TryTakeOverAsync(document.Identity, macEntry, cancellationToken).ConfigureAwait(false))
        {
            throw new EnvelopeConfigurationException(
                $"The database holds keys of another key ring than the export's ({document.Ring}). An export goes into an empty ring or the one it was taken from; two rings are never mixed. Nothing was written.");
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

        var (added, changed, unchanged) = (0, 0, 0);
        foreach (var chunk in entries.Chunk(ImportChunk))
        {
            var held = (await store.FindByIdAsync([.. chunk.Select(e => e.Id)], cancellationToken).ConfigureAwait(false)).ToDictionary(e => e.Id);
            var missing = chunk.Where(e => !held.ContainsKey(e.Id)).ToList();
            if (missing.Count > 0)
            {
                added += await AddAsync(missing, document.Ring, mac, store, cancellationToken).ConfigureAwait(false);
            }

            foreach (var entry in chunk.Where(e => held.ContainsKey(e.Id)))
            {
                if (await MergeAsync(entry, document.Ring, mac, store, cancellationToken).ConfigureAwait(false))
                {
                    changed++;
                }
                else
                {
                    unchanged++;
                }
            }
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        _audit.RingImported(document.Ring, added + changed);
        return (added, changed, unchanged);
    }

    private void Prove(RingDocument document, IReadOnlyList<KeyRingEntry> entries, DataKey mac)
    {
        var ids = new HashSet<Guid>();
        if (!document.IsGenuine(mac, entries) || entries.Any(e => !ids.Add(e.Id)))
        {
            _audit.RingTampered(null);
            throw new KeyRingTamperedException("The ring export was changed since it was written (it does not authenticate). Take another copy. Nothing was written.");
        }

        foreach (var entry in entries)
        {
            Verify(mac, document.Ring, entry);
        }
    }

    /// <summary>
    /// Inserts what the ring lacks. Where the ring made another key of that scope and version meanwhile, the document's key gets the next free version, and no longer seals: rows that name it open again.
    /// </summary>
    private async Task<int> AddAsync(List<KeyRingEntry> missing, Guid ringId, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var added = await store.TryInsertAsync(missing, cancellationToken).ConfigureAwait(false);
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
                var moved = entry with
                {
                    Version = versions.Select(v => v.Version).DefaultIfEmpty().Max() + 1,
                    State = entry.State is KeyState.Active or KeyState.PreActive ? KeyState.Deactivated : entry.State,
                    StateChangedAt = Now(),
                    Revision = entry.Revision + 1,
                };
                if (await store.TryInsertAsync([KeyMetadataMac.Sign(mac, ringId, moved)], cancellationToken).ConfigureAwait(false) == 1)
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
    }

    private async Task<bool> MergeAsync(KeyRingEntry entry, Guid ringId, DataKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var held = (await store.FindByIdAsync([entry.Id], cancellationToken).ConfigureAwait(false)).Single();
            if (KeyResolver.Merge(held, KeyMetadataMac.IsGenuine(mac, ringId, held), entry, Now()) is not { } merged)
            {
                return false;
            }

            if (await store.TryUpdateAsync(KeyMetadataMac.Sign(mac, ringId, merged), cancellationToken).ConfigureAwait(false))
            {
                return true;
            }
        }

        throw new KeyUnavailableException($"Key {entry.Id} could not be imported: others change it at the same time. Import again.") { KeyId = entry.Id };
    }
}
