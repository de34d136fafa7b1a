using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Which key seals.</summary>
internal sealed partial class KeyRing
{
    /// <summary>The scope's sealing key, when it is held, its state is confirmed within the lease and its age is in bounds. No I/O.</summary>
    public bool TryGetForSealing(string scope, out RingKey key)
        => _sealing.TryGetValue(scope, out key!) && KeyResolver.MaySeal(key.State) && IsConfirmed && key.Refusal is null && !IsRevalidationDue(key);

    /// <summary>
    /// The scope's sealing key. Scope keys are made on first use and committed before this returns; racing creators end with the same one. A row scope's key must exist.
    /// </summary>
    public async ValueTask<RingKey> GetForSealingAsync(string scope, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        if (TryGetForSealing(scope, out var held))
        {
            RefreshAhead(store);
            return held;
        }

        var found = await GetForSealingAsync([scope], store, transient, cancellationToken).ConfigureAwait(false);
        return found[scope];
    }

    /// <summary>The sealing keys of many scopes, in few queries.</summary>
    public async ValueTask<Dictionary<string, RingKey>> GetForSealingAsync(
        IReadOnlyCollection<string> scopes, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var found = new Dictionary<string, RingKey>(scopes.Count, StringComparer.Ordinal);
        await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
        List<string>? rows = null;
        foreach (var scope in scopes)
        {
            if (TryGetForSealing(scope, out var key) || (store.IsTransient && transient.TryGetForSealing(scope, out key)))
            {
                found[scope] = key;
            }
            else if (_sealing.TryGetValue(scope, out var old) && KeyResolver.MaySeal(old.State))
            {
                await RevalidateAsync(old, cancellationToken).ConfigureAwait(false);
                found[scope] = old;
            }
            else if (KeyScope.KindOf(scope) == ScopeKind.Row)
            {
                (rows ??= []).Add(scope);
            }
            else
            {
                found[scope] = store.UsesCallersConnection
                    ? await LoadSealingAsync(scope, KeyPurpose.Field, store, transient, cancellationToken).ConfigureAwait(false)
                    : await SingleFlightAsync("seal " + scope, () => LoadSealingAsync(scope, KeyPurpose.Field, store, transient, CancellationToken.None), cancellationToken).ConfigureAwait(false);
            }
        }

        if (rows is not null)
        {
            await LoadRowSealingAsync(rows, found, store, transient, cancellationToken).ConfigureAwait(false);
        }

        RefreshAhead(store);
        return found;
    }

    /// <summary>
    /// Makes a key for a row: random here, wrapped under the parent scope's kek, which is committed before. The entry is the caller's to insert together with the row.
    /// </summary>
    /// <remarks>The scope is <c>row:…@…</c>; the version is 1 for a new row, and one more than the lineage's newest otherwise.</remarks>
    public async ValueTask<RowKeyDraft> DraftRowKeyAsync(string rowScope, int version, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, cancellationToken).ConfigureAwait(false);
        var kek = await GetKekAsync(KeyScope.ParentOf(rowScope), store, transient, cancellationToken).ConfigureAwait(false);
        var key = Generate();
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

    private DataKey Generate()
    {
        Span<byte> material = stackalloc byte[DataKey.MaterialBytes];
        System.Security.Cryptography.RandomNumberGenerator.Fill(material);
        try
        {
            return DataKey.Import(KeyPurpose.Field, material, _backend, _time);
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(material);
        }
    }

    /// <summary>The kek of a scope, for row keys.</summary>
    private async ValueTask<RingKey> GetKekAsync(string parentScope, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var name = "kek " + parentScope;
        await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
        if (_sealing.TryGetValue(name, out var held) && KeyResolver.MaySeal(held.State) && !IsRevalidationDue(held) && held.Refusal is null)
        {
            return held;
        }

        return store.UsesCallersConnection
            ? await LoadSealingAsync(parentScope, KeyPurpose.Kek, store, transient, cancellationToken).ConfigureAwait(false)
            : await SingleFlightAsync(name, () => LoadSealingAsync(parentScope, KeyPurpose.Kek, store, transient, CancellationToken.None), cancellationToken).ConfigureAwait(false);
    }

    private async Task<RingKey> LoadSealingAsync(string scope, KeyPurpose purpose, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; ; attempt++)
        {
            var asked = _time.GetTimestamp();
            var versions = await store.FindByScopeAsync([scope], purpose, cancellationToken).ConfigureAwait(false);
            foreach (var version in versions)
            {
                KeyMetadataMac.Verify(mac.Key, identity.Id, version);
            }

            if (KeyResolver.FindSealing(versions) is { } entry)
            {
                var key = _keys.TryGetValue(entry.Id, out var held) && !IsRevalidationDue(held) && held.Refusal is null
                    ? held
                    : new RingKey(entry, await UnwrapAsync(entry, identity, cancellationToken).ConfigureAwait(false), null, asked);
                return Keep(key, purpose, seals: true, store, transient);
            }

            if (attempt > 3)
            {
                throw new KeyUnavailableException($"No active key could be made for a scope of the ring: others change it at the same time. Retry.");
            }

            var next = versions.Count == 0 ? 1 : versions.Max(v => v.Version) + 1;
            var (made, material) = await GenerateAsync(identity, scope, purpose, next, cancellationToken).ConfigureAwait(false);
            made = KeyMetadataMac.Sign(mac.Key, identity.Id, made);
            if (await store.TryInsertAsync([made], cancellationToken).ConfigureAwait(false) == 1)
            {
                // One key service call for a new key: it was committed by the line above, so it may be held without being read again.
                return Keep(new RingKey(made, material, null, asked), purpose, seals: true, store, transient);
            }

            // Another creator won; its key is read on the next turn. Ours was never used.
            material.Dispose();
        }
    }

    private async Task LoadRowSealingAsync(
        List<string> scopes, Dictionary<string, RingKey> found, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var versions = await store.FindByScopeAsync(scopes, KeyPurpose.Field, cancellationToken).ConfigureAwait(false);
        var sealing = new List<KeyRingEntry>();
        foreach (var lineage in versions.GroupBy(v => v.Scope, StringComparer.Ordinal))
        {
            if (KeyResolver.FindSealing(lineage) is { } entry)
            {
                sealing.Add(entry);
            }
            else if (lineage.All(v => v.State == KeyState.Destroyed))
            {
                throw new KeyDestroyedException($"The row's keys were destroyed: the row is erased and takes no new values. Nothing was written.") { KeyId = lineage.First().Id };
            }
            else
            {
                // Every version is retired: the row goes on under a new one, committed beforehand.
                var draft = await DraftRowKeyAsync(lineage.Key, lineage.Max(v => v.Version) + 1, store, transient, cancellationToken).ConfigureAwait(false);
                await store.TryInsertAsync([draft.Entry], cancellationToken).ConfigureAwait(false);
                sealing.Add(KeyResolver.FindSealing(await store.FindByScopeAsync([lineage.Key], KeyPurpose.Field, cancellationToken).ConfigureAwait(false)) ?? draft.Entry);
            }
        }

        foreach (var key in await UnwrapRowKeysAsync(sealing, store, transient, cancellationToken).ConfigureAwait(false))
        {
            found[key.Scope] = Keep(key, KeyPurpose.Field, seals: true, store, transient);
        }

        foreach (var scope in scopes)
        {
            if (!found.ContainsKey(scope))
            {
                if (transient.TryGetForSealing(scope, out var drafted))
                {
                    found[scope] = drafted;
                    continue;
                }

                throw new KeyNotFoundInRingException("A row of an entity with keys per row has no key in the ring: the row was copied, or the ring was restored from before it was made. Nothing was written.");
            }
        }
    }

    /// <summary>Enters a key into the shared cache, or into the context's own where its row may yet be rolled back.</summary>
    private RingKey Keep(RingKey key, KeyPurpose purpose, bool seals, IKeyRingStore store, TransientKeys transient)
    {
        if (store.IsTransient)
        {
            transient.Add(key, seals && purpose == KeyPurpose.Field);
            return key;
        }

        var kept = _keys.GetOrAdd(key.Id, key);
        if (!ReferenceEquals(kept, key))
        {
            if (kept.Refusal is not null || kept.Key.IsDisposed || kept.ValidatedAt < key.ValidatedAt)
            {
                _keys[key.Id] = key;
                kept.Drop();
                kept = key;
            }
            else
            {
                kept.Entry = key.Entry;
                key.Key.Dispose();
            }
        }

        KeyRingRegistry.Add(kept.Id, this);
        if (seals)
        {
            _sealing[purpose == KeyPurpose.Kek ? "kek " + kept.Scope : kept.Scope] = kept;
        }

        Evict();
        return kept;
    }

    private bool IsRevalidationDue(RingKey key) => KeyResolver.IsRevalidationDue(_time.GetElapsedTime(key.ValidatedAt), _options);

    /// <summary>Asks the key service whether a held key may still be used: a refusal counts at once, an outage only when the key is too old.</summary>
    private async Task RevalidateAsync(RingKey key, CancellationToken cancellationToken)
    {
        var root = key.Kek ?? key;
        if (!IsRevalidationDue(root) && root.Refusal is null)
        {
            return;
        }

        var tooOld = KeyResolver.IsTooOld(_time.GetElapsedTime(root.ValidatedAt), _options);
        if (!tooOld && root.Refusal is null && _time.GetTimestamp() < Volatile.Read(ref _outageUntil))
        {
            return;
        }

        var asked = _time.GetTimestamp();
        try
        {
            using var again = await UnwrapAsync(root.Entry, _identity ?? throw new KeyUnavailableException("The key ring is being opened anew. Retry."), cancellationToken).ConfigureAwait(false);
            root.Refusal = null;
            root.ValidatedAt = asked;
        }
        catch (KeyUnavailableException) when (!tooOld && root.Refusal is null)
        {
            Volatile.Write(ref _outageUntil, _time.GetTimestamp() + (long)(OutagePause.TotalSeconds * _time.TimestampFrequency));
        }
        catch (EnvelopeEncryptionException refusal) when (refusal is KeyRefusedException or KeyRingTamperedException)
        {
            root.Refusal = refusal;
            throw;
        }
    }
}
