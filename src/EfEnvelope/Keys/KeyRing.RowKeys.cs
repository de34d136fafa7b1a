using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Keys of rows that have keys of their own: made here, wrapped under their parent scope's kek.</summary>
internal sealed partial class KeyRing
{
    /// <summary>
    /// Makes a key for a row: random here, wrapped under the parent scope's kek, which is committed before. The entry is the caller's to insert together with the row.
    /// </summary>
    /// <remarks>The scope is <c>row:…@…</c>; the version is 1 for a new row, and one more than the lineage's newest otherwise.</remarks>
    public async ValueTask<RowKeyDraft> DraftRowKeyAsync(string rowScope, int version, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        using var pins = new KeyPins();
        RingKey kek;
        var attempts = 0;
        do
        {
            if (++attempts > MaxAttempts)
            {
                throw TooSlow();
            }

            await EnsureConfirmedForSealingAsync(store, cancellationToken).ConfigureAwait(false);
            kek = await GetScopeKeyAsync(KeyScope.ParentOf(rowScope), KeyPurpose.Kek, store, transient, pins, cancellationToken).ConfigureAwait(false);
        }
        while (!store.IsTransient && !IsConfirmedForSealing);

        var key = Generate();
        try
        {
            var now = Now();
            var entry = new KeyRingEntry
            {
                Id = key.Id,
                Scope = rowScope,
                Purpose = KeyPurpose.Field,
                Version = version,
                State = KeyState.Active,
                KekId = kek.Id,
                Wrapped = EnvelopeCodec.WrapKey(kek.Key, key, rowScope),
                CreatedAt = now,
                ActivatedAt = now,
                StateChangedAt = now,
                Revision = 1,
            };
            entry = KeyMetadataMac.Sign(mac.Key, identity.Id, entry);
            return new RowKeyDraft(entry, new RingKey(entry, key, kek, _time.GetTimestamp()));
        }
        catch
        {
            key.Dispose();
            throw;
        }
    }

    /// <summary>Which of the rows have a key, in whatever state, as the store sees them.</summary>
    public static async Task<HashSet<string>> FindRowScopesAsync(IReadOnlyCollection<string> rowScopes, IKeyRingStore store, CancellationToken cancellationToken)
        => (await store.FindByScopeAsync(rowScopes, KeyPurpose.Field, cancellationToken).ConfigureAwait(false)).Select(k => k.Scope).ToHashSet(StringComparer.Ordinal);

    /// <summary>Whether a key is held now, to open with.</summary>
    public bool Holds(Guid id) => _keys.ContainsKey(id);

    /// <summary>Whether a row's sealing key is held now.</summary>
    public bool HoldsSealing(string rowScope) => _sealing.ContainsKey(rowScope);

    /// <summary>
    /// Lets go of row keys that a job loaded for one batch: it comes by each row once, and millions of them would take memory and push out what the application works with. A key that somebody else used since
    /// (<see cref="RingKey.LastUsed"/> is no longer 0), or works with, stays.
    /// </summary>
    public void LetGo(IEnumerable<RingKey> rowKeys)
    {
        lock (_state)
        {
            foreach (var key in rowKeys)
            {
                if (key.LastUsed == 0 && key.TryRetire())
                {
                    Forget(key);
                }
            }
        }
    }

    /// <summary>Makes sure that a scope's rows have a kek for new keys.</summary>
    /// <exception cref="EnvelopeEncryptionException">It cannot be had, or used.</exception>
    public async Task LoadSealingKekAsync(string parent, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        using var pins = new KeyPins();
        await EnsureConfirmedForSealingAsync(store, cancellationToken).ConfigureAwait(false);
        await GetScopeKeyAsync(parent, KeyPurpose.Kek, store, transient, pins, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Why the row keys under a kek do not open; null where the kek does not stand in their way.</summary>
    public async Task<EnvelopeEncryptionException?> FindKekErrorAsync(Guid kekId, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        using var pins = new KeyPins();
        await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        var unusable = new Dictionary<Guid, EnvelopeEncryptionException>();
        var keks = await LoadKeksAsync([kekId], unusable, identity, mac, store, transient, pins, cancellationToken).ConfigureAwait(false);
        return unusable.GetValueOrDefault(kekId)
            ?? (keks.ContainsKey(kekId) ? null
                : (await store.FindByIdAsync([kekId], cancellationToken).ConfigureAwait(false)).Count == 0 ? KeyResolver.OpeningError(kekId, null)
                : throw new KeyUnavailableException($"Kek {kekId} could not be loaded: the ring changes all the time. Retry.") { KeyId = kekId });
    }

    private DataKey Generate()
    {
        Span<byte> material = stackalloc byte[DataKey.MaterialBytes];
        RandomNumberGenerator.Fill(material);
        try
        {
            return DataKey.Import(KeyPurpose.Field, material, _backend, _time);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    /// <returns>False when the ring changed meanwhile: what was read of it is no longer sure.</returns>
    private async Task<bool> LoadRowSealingAsync(
        List<string> scopes, Dictionary<string, RingKey> found, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var generation = Interlocked.Read(ref _generation);
        var versions = await store.FindByScopeAsync(scopes, KeyPurpose.Field, cancellationToken).ConfigureAwait(false);
        var sealing = new List<KeyRingEntry>();
        var retired = new List<(string Scope, int Version)>();
        foreach (var lineage in versions.GroupBy(v => v.Scope, StringComparer.Ordinal))
        {
            if (KeyResolver.FindSealing(lineage) is { } entry)
            {
                sealing.Add(entry);
            }
            else if (KeyResolver.IsErased([.. lineage]))
            {
                throw new KeyDestroyedException("The row's keys were destroyed: the row is erased and takes no new values. Nothing was written.") { KeyId = lineage.First().Id };
            }
            else
            {
                retired.Add((lineage.Key, lineage.Max(v => v.Version)));
            }
        }

        foreach (var key in await UnwrapRowKeysAsync(sealing, areGenuine: false, seals: true, generation, store, transient, pins, cancellationToken).ConfigureAwait(false))
        {
            if (MaySeal(key))
            {
                found[key.Scope] = key;
            }
            else
            {
                // Its kek was rotated or reported compromised, and the row key's own row does not say so.
                retired.Add((key.Scope, versions.Where(v => v.Scope == key.Scope).Max(v => v.Version)));
                pins.Release(key);
            }
        }

        if (retired.Count > 0)
        {
            foreach (var key in await RenewRowKeysAsync(retired, store, transient, pins, cancellationToken).ConfigureAwait(false))
            {
                found[key.Scope] = key;
            }
        }

        foreach (var scope in scopes)
        {
            if (found.ContainsKey(scope))
            {
                continue;
            }

            if (versions.FirstOrDefault(v => v.Scope == scope) is { } unopened)
            {
                if (generation != Interlocked.Read(ref _generation))
                {
                    return false;
                }

                throw _unopenable.TryGetValue(unopened.Id, out var known) ? known.Error : KeyResolver.OpeningError(unopened.Id, unopened);
            }

            if (!transient.TryGetDraft(scope, out var drafted) || !pins.TryPin(drafted, out drafted))
            {
                throw new KeyNotFoundInRingException(transient.InTransaction
                    ? "A row of an entity with keys per row has no key in the ring: another context of the same open transaction may have made the row, and knows its key alone until they commit - change the row with that context, or when it is committed. Else the row was copied, or the ring was restored from before it was made. Nothing was written."
                    : "A row of an entity with keys per row has no key in the ring: the row was copied, or the ring was restored from before it was made. Nothing was written.");
            }

            if (!MaySeal(drafted))
            {
                // Another version, in the same transaction, could go back to a savepoint alone, and leave the row behind.
                pins.Release(drafted);
                throw new KeyUnavailableException(
                    "A row was inserted earlier in this transaction, and the key that its own stands under has been retired since: nobody else sees the row's key to renew it, and the row takes no new values before it is committed. Nothing was written. Commit first, or roll the transaction back and begin it again.") { KeyId = drafted.Id };
            }

            found[scope] = drafted;
        }

        return true;
    }

    /// <summary>Rows whose every version is retired go on under new ones, committed beforehand. One is left out, and the ring's generation raised, when its kek ended meanwhile.</summary>
    private async Task<List<RingKey>> RenewRowKeysAsync(
        List<(string Scope, int Version)> retired, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var drafts = new List<KeyRingEntry>(retired.Count);
        foreach (var (scope, version) in retired)
        {
            var draft = await DraftRowKeyAsync(scope, version + 1, store, transient, cancellationToken).ConfigureAwait(false);
            draft.Key.Drop();
            drafts.Add(draft.Entry);
        }

        await store.TryInsertAsync(drafts, cancellationToken).ConfigureAwait(false);
        var generation = Interlocked.Read(ref _generation);
        var renewed = await FindRenewedAsync(drafts, store, cancellationToken).ConfigureAwait(false);
        if (renewed.Count < drafts.Count && store.IsTransient)
        {
            throw new KeyUnavailableException("A row's key could not be renewed: others change it at the same time. Retry.");
        }

        return await UnwrapRowKeysAsync(renewed, areGenuine: false, seals: true, generation, store, transient, pins, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// What rows seal with once new versions were inserted: those, or what others made at the same time. A row is left out when its new key was, because its kek ended meanwhile: once that is known here - it is asked for -, the next
    /// attempt takes the successor, or says that the scope is erased.
    /// </summary>
    private async Task<List<KeyRingEntry>> FindRenewedAsync(List<KeyRingEntry> drafts, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var versions = drafts.ToDictionary(d => d.Scope, d => d.Version, StringComparer.Ordinal);
        var renewed = (await store.FindByScopeAsync(versions.Keys, KeyPurpose.Field, cancellationToken).ConfigureAwait(false)).GroupBy(v => v.Scope, StringComparer.Ordinal)
            .Select(KeyResolver.FindSealing).OfType<KeyRingEntry>().Where(k => k.Version >= versions[k.Scope]).ToList();
        if (renewed.Count < drafts.Count && !store.IsTransient)
        {
            await ConfirmForAllAsync(isEnough: null, store, cancellationToken).ConfigureAwait(false);
        }

        return renewed;
    }
}
