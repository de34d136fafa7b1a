using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Keys;

/// <summary>Changes of keys: rotate, rewrap, compromise, revoke, destroy. Each is a compare-and-set that is tried again when somebody else was first.</summary>
internal sealed partial class KeyRing
{
    private const int MaxAttempts = 8;

    /// <summary>Changes in one commit at most.</summary>
    private const int ChangeChunk = 500;

    /// <summary>A new version for a scope, committed together with the end of the old ones' sealing; they open on. Row scopes are rotated by the job.</summary>
    /// <returns>The new version's entry.</returns>
    /// <exception cref="KeyDestroyedException">The scope is erased.</exception>
    public async Task<KeyRingEntry> RotateAsync(string scope, KeyPurpose purpose, string? reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        RequireScopeKey(purpose, null);
        KeyRingEntry? made = null;
        List<KeyRingEntry> retired = [];
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var versions = await ReadVersionsAsync(scope, purpose, identity, mac, store, cancellationToken).ConfigureAwait(false);
            if (made is not null && versions.Any(v => v.Id == made.Id))
            {
                // Committed by the attempt before, whose answer was lost on its way.
                return await FinishAsync(made).ConfigureAwait(false);
            }

            if (await FindErasedAsync(versions, scope, purpose, identity, mac, store, cancellationToken).ConfigureAwait(false) is { } destroyed)
            {
                throw new KeyDestroyedException($"Scope '{scope}' is erased: every {destroyed.Purpose} key of it was destroyed, and it gets no new one. Nothing was changed.") { KeyId = destroyed.Id };
            }

            var (generated, material) = await GenerateAsync(identity, scope, purpose, versions.Count == 0 ? 1 : versions.Max(v => v.Version) + 1, cancellationToken).ConfigureAwait(false);
            material.Dispose();
            made = KeyMetadataMac.Sign(mac.Key, identity.Id, generated with { Reason = reason });
            var now = Now();
            retired = versions.Where(v => v.State == KeyState.Active)
                .Select(v => KeyMetadataMac.Sign(mac.Key, identity.Id, v with { State = KeyState.Deactivated, Reason = reason ?? v.Reason, StateChangedAt = now, Revision = v.Revision + 1 })).ToList();
            if (await store.TryChangeAsync([made], retired, cancellationToken).ConfigureAwait(false))
            {
                return await FinishAsync(made).ConfigureAwait(false);
            }
        }

        throw new KeyUnavailableException("The scope's key could not be rotated: others rotate it at the same time. Retry.");

        async Task<KeyRingEntry> FinishAsync(KeyRingEntry next)
        {
            _audit.KeyRotated(next.Id, KmsContext.PurposeName(purpose), next.Version);
            foreach (var old in retired)
            {
                Adopt(old);
            }

            await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
            return next;
        }
    }

    /// <summary>Changes a key's state where the rules allow it.</summary>
    /// <exception cref="KeyRevokedException">The state does not allow it.</exception>
    public async Task<KeyRingEntry> ChangeStateAsync(Guid id, KeyState state, string? reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        await ChangeAsync([id], (entry, now) => Follow(entry, state, reason, null, now), store, cancellationToken).ConfigureAwait(false);
        return await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What a key becomes in its next state; null where it is in it already.</summary>
    /// <exception cref="KeyRevokedException">The state does not allow it.</exception>
    private static KeyRingEntry? Follow(KeyRingEntry entry, KeyState state, string? reason, string? by, DateTimeOffset now)
    {
        if (entry.State == state)
        {
            return null;
        }

        return KeyResolver.MayFollow(entry.State, state)
            ? entry with
            {
                State = state,
                Reason = reason ?? entry.Reason,
                ChangedBy = by ?? entry.ChangedBy,
                StateChangedAt = now,
                ActivatedAt = entry.ActivatedAt ?? (state == KeyState.Active ? now : null),
                CompromisedAt = entry.CompromisedAt ?? (state == KeyState.Compromised ? now : null),
                DestructionDueAt = null,
                FormerState = null,
                Wrapped = state == KeyState.Destroyed ? [] : entry.Wrapped,
            }
            : throw new KeyRevokedException($"Key {entry.Id} is {entry.State} and cannot become {state}. Nothing was changed.") { KeyId = entry.Id };
    }

    /// <summary>
    /// Reads keys, lets <paramref name="plan"/> say what each shall become (null: as it is), and commits all of it at once, for at most <see cref="ChangeChunk"/> keys; from the start where others were faster. Counts in this
    /// process as soon as it is committed.
    /// </summary>
    /// <returns>The changed entries.</returns>
    private async Task<IReadOnlyList<KeyRingEntry>> ChangeAsync(IReadOnlyList<Guid> ids, Func<KeyRingEntry, DateTimeOffset, KeyRingEntry?> plan, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        var tried = new Dictionary<Guid, KeyRingEntry>();
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var entries = await store.FindByIdAsync(ids, cancellationToken).ConfigureAwait(false);
            if (entries.Count < ids.Count)
            {
                throw KeyResolver.OpeningError(ids.First(id => entries.All(e => e.Id != id)), null);
            }

            var now = Now();
            var changed = new List<KeyRingEntry>(entries.Count);
            var done = new List<KeyRingEntry>();
            foreach (var entry in entries)
            {
                Verify(mac.Key, identity.Id, entry);
                if (tried.TryGetValue(entry.Id, out var own) && own.Mac.AsSpan().SequenceEqual(entry.Mac))
                {
                    // Committed by the attempt before, whose answer was lost on its way: the store asked again, and found the row changed.
                    done.Add(entry);
                }
                else if (plan(entry, now) is { } next)
                {
                    changed.Add(KeyMetadataMac.Sign(mac.Key, identity.Id, next with { Revision = entry.Revision + 1 }));
                }
            }

            if (changed.Count == 0 || await store.TryChangeAsync([], changed, cancellationToken).ConfigureAwait(false))
            {
                done.AddRange(changed);
                foreach (var entry in done)
                {
                    Adopt(entry);
                    AuditChange(entry);
                }

                return done;
            }

            foreach (var entry in changed)
            {
                tried[entry.Id] = entry;
            }
        }

        throw new KeyUnavailableException($"Key {ids[0]} could not be changed: others change it at the same time. Retry.") { KeyId = ids[0] };
    }

    private async Task ChangeAsync(
        IReadOnlyList<Guid> ids, Func<KeyRingEntry, DateTimeOffset, KeyRingEntry?> plan, Action<KeyRingEntry> changed, IKeyRingStore store, CancellationToken cancellationToken)
    {
        foreach (var entry in await ChangeAsync(ids, plan, store, cancellationToken).ConfigureAwait(false))
        {
            changed(entry);
        }
    }

    private async Task<IReadOnlyList<KeyRingEntry>> ReadVersionsAsync(string scope, KeyPurpose purpose, RingIdentity identity, RingKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var versions = await store.FindByScopeAsync([scope], purpose, cancellationToken).ConfigureAwait(false);
        foreach (var version in versions)
        {
            Verify(mac.Key, identity.Id, version);
        }

        return versions;
    }

    /// <summary>A destroyed key of a scope that is erased, with all that it had, which may have been keys of the other purpose only; null where the scope may get another key.</summary>
    private async Task<KeyRingEntry?> FindErasedAsync(
        IReadOnlyList<KeyRingEntry> versions, string scope, KeyPurpose purpose, RingIdentity identity, RingKey mac, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var had = versions.Count > 0 ? versions : await ReadVersionsAsync(scope, purpose == KeyPurpose.Kek ? KeyPurpose.Field : KeyPurpose.Kek, identity, mac, store, cancellationToken).ConfigureAwait(false);
        return KeyResolver.IsErased(had) ? had[0] : null;
    }

    /// <summary>Keys that seal values or wrap row keys have this life; the ring's own mac key and index roots end with the ring.</summary>
    private static void RequireScopeKey(KeyPurpose purpose, Guid? id)
    {
        if (purpose is not (KeyPurpose.Field or KeyPurpose.Kek))
        {
            throw new EnvelopeConfigurationException(
                $"{(id is { } key ? $"Key {key}" : "It")} is a key of purpose {purpose}: it is neither rotated, reported compromised nor destroyed by itself, because the ring's rows{(purpose == KeyPurpose.Index ? " and indexes" : "")} rest on it. Nothing was changed.") { KeyId = id };
        }
    }

    /// <summary>Wraps a key anew with the root key's current material; no row changes, and the plaintext key never leaves the service.</summary>
    public async Task<bool> RewrapAsync(Guid id, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var entry = await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
            if (entry.RootKeyId is null || entry.Wrapped.Length == 0)
            {
                return false;
            }

            var context = KmsContext.Create(identity, entry.Scope, entry.Purpose, _fixedContext);
            var former = new WrappedKey(entry.RootKeyId, entry.Wrapped, entry.KeyMaterialId);
            var wrapped = await CallAsync("rewrap", id, () => _kms.RewrapAsync(former, context, cancellationToken)).ConfigureAwait(false);
            var changed = entry with { Wrapped = wrapped.Ciphertext, RootKeyId = wrapped.RootKeyId, KeyMaterialId = wrapped.KeyMaterialId, Revision = entry.Revision + 1 };
            changed = KeyMetadataMac.Sign(mac.Key, identity.Id, changed);
            if (await store.TryUpdateAsync(changed, cancellationToken).ConfigureAwait(false))
            {
                Adopt(changed);
                _audit.KeyRewrapped(id);
                return true;
            }
        }

        throw new KeyUnavailableException($"Key {id} could not be rewrapped: others change it at the same time. Retry.") { KeyId = id };
    }

    /// <summary>Every entry of the ring, authenticated.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> ListAsync(bool includeRowKeys, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        var entries = await store.ListAsync(includeRowKeys, cancellationToken).ConfigureAwait(false);
        foreach (var entry in entries)
        {
            Verify(mac.Key, identity.Id, entry);
        }

        return entries;
    }

    /// <summary>HMAC-SHA-256 under the ring's mac key: for reports.</summary>
    public async Task<byte[]> ComputeMacAsync(ReadOnlyMemory<byte> data, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        return KeyMetadataMac.Compute((await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false)).Key, data.Span);
    }

    /// <summary>New versions of rows' keys, committed before the job uses them; a version that another worker made first is used instead.</summary>
    public async Task<Dictionary<string, RingKey>> RotateRowKeysAsync(IReadOnlyCollection<string> scopes, IKeyRingStore store, KeyPins pins, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var generation = Interlocked.Read(ref _generation);
            var keys = await TryRotateRowKeysAsync(scopes, store, transient, pins, cancellationToken).ConfigureAwait(false);
            if (keys.Count == scopes.Count || generation == Interlocked.Read(ref _generation))
            {
                return keys;
            }
        }

        throw new KeyUnavailableException("The keys of rows could not be renewed: the ring changes all the time. Run the job again; nothing was written.");
    }

    /// <summary>One attempt: a key is left out when the ring changed since its row was read.</summary>
    private async Task<Dictionary<string, RingKey>> TryRotateRowKeysAsync(
        IReadOnlyCollection<string> scopes, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        await EnsureConfirmedForSealingAsync(store, cancellationToken).ConfigureAwait(false);
        var generation = Interlocked.Read(ref _generation);
        var versions = await store.FindByScopeAsync(scopes, KeyPurpose.Field, cancellationToken).ConfigureAwait(false);
        var drafts = new List<KeyRingEntry>();
        var active = new List<KeyRingEntry>();
        foreach (var lineage in versions.GroupBy(v => v.Scope, StringComparer.Ordinal))
        {
            var sealing = KeyResolver.FindSealing(lineage);
            var kekRetired = sealing?.KekId is { } kekId && await IsRetiredAsync(kekId, store, cancellationToken).ConfigureAwait(false);
            if (sealing is not null && !kekRetired)
            {
                active.Add(sealing);
                continue;
            }

            if (KeyResolver.IsErased([.. lineage]))
            {
                // The batch may have held its old key when the scope was erased.
                throw new KeyDestroyedException("The row's keys were destroyed: the row is erased and is not re-encrypted. Nothing was written.") { KeyId = lineage.First().Id };
            }

            var draft = await DraftRowKeyAsync(lineage.Key, lineage.Max(v => v.Version) + 1, store, transient, cancellationToken).ConfigureAwait(false);
            drafts.Add(draft.Entry);
            draft.Key.Drop();
        }

        if (drafts.Count > 0)
        {
            await store.TryInsertAsync(drafts, cancellationToken).ConfigureAwait(false);
            active.AddRange(await FindRenewedAsync(drafts, store, cancellationToken).ConfigureAwait(false));
        }

        var keys = new Dictionary<string, RingKey>(StringComparer.Ordinal);
        foreach (var key in await UnwrapRowKeysAsync(active, areGenuine: false, seals: true, generation, store, transient, pins, cancellationToken).ConfigureAwait(false))
        {
            keys[key.Scope] = key;
        }

        return keys;
    }

    private async Task<bool> IsRetiredAsync(Guid kekId, IKeyRingStore store, CancellationToken cancellationToken)
        => _keys.TryGetValue(kekId, out var held)
            ? held.State != KeyState.Active
            : (await store.FindByIdAsync([kekId], cancellationToken).ConfigureAwait(false)) is not [{ State: KeyState.Active }];

    /// <summary>A change of a key commits by itself: made inside the caller's transaction it might roll back, and this process would already live by it.</summary>
    private async Task<(RingIdentity Identity, RingKey Mac)> OpenForChangeAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (store.IsTransient)
        {
            throw new EnvelopeConfigurationException("Keys cannot be changed inside an open transaction of this SQLite connection: commit it first, or use another context. Nothing was changed.");
        }

        using var transient = new TransientKeys();
        return (await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false), await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false));
    }

    private async Task<KeyRingEntry> ReadAsync(Guid id, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        var found = await store.FindByIdAsync([id], cancellationToken).ConfigureAwait(false);
        if (found.Count == 0)
        {
            throw KeyResolver.OpeningError(id, null);
        }

        Verify(mac.Key, identity.Id, found[0]);
        return found[0];
    }
}
