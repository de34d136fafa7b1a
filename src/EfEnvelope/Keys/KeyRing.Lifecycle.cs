using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Keys;

/// <summary>Changes of keys: rotate, rewrap, compromise, revoke, destroy. Each is a compare-and-set that is tried again when somebody else was first.</summary>
internal sealed partial class KeyRing
{
    private const int MaxAttempts = 8;

    /// <summary>A new version for a scope; the old ones open on. Row scopes are rotated by the job.</summary>
    /// <returns>The new version's entry.</returns>
    public async Task<KeyRingEntry> RotateAsync(string scope, KeyPurpose purpose, string? reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var versions = await store.FindByScopeAsync([scope], purpose, cancellationToken).ConfigureAwait(false);
            foreach (var version in versions)
            {
                Verify(mac.Key, identity.Id, version);
            }

            var (made, material) = await GenerateAsync(identity, scope, purpose, versions.Count == 0 ? 1 : versions.Max(v => v.Version) + 1, cancellationToken).ConfigureAwait(false);
            material.Dispose();
            if (await store.TryInsertAsync([KeyMetadataMac.Sign(mac.Key, identity.Id, made with { Reason = reason })], cancellationToken).ConfigureAwait(false) == 0)
            {
                continue;
            }

            _audit.KeyRotated(made.Id, KmsContext.PurposeName(purpose), made.Version);
            foreach (var old in versions.Where(v => v.State == KeyState.Active))
            {
                await ChangeStateAsync(old.Id, KeyState.Deactivated, reason, store, cancellationToken).ConfigureAwait(false);
            }

            await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
            return made;
        }

        throw new KeyUnavailableException("The scope's key could not be rotated: others rotate it at the same time. Retry.");
    }

    /// <summary>
    /// Marks a key compromised: sealing with it stops in this process at once, in all others within the sealing lease; a new version takes over. The row keys under
    /// a compromised kek are compromised with it.
    /// </summary>
    /// <returns>Every entry that was marked.</returns>
    public async Task<IReadOnlyList<KeyRingEntry>> CompromiseAsync(Guid id, string reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var entry = await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
        if (entry.KekId is null && entry.State == KeyState.Active)
        {
            await RotateAsync(entry.Scope, entry.Purpose, reason, store, cancellationToken).ConfigureAwait(false);
        }

        var marked = new List<KeyRingEntry> { await ChangeStateAsync(id, KeyState.Compromised, reason, store, cancellationToken).ConfigureAwait(false) };
        if (entry.Purpose == KeyPurpose.Kek)
        {
            foreach (var rowKey in await store.FindByKekAsync(id, cancellationToken).ConfigureAwait(false))
            {
                if (rowKey.State is KeyState.Active or KeyState.Deactivated or KeyState.PreActive)
                {
                    marked.Add(await ChangeStateAsync(rowKey.Id, KeyState.Compromised, reason, store, cancellationToken).ConfigureAwait(false));
                }
            }
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return marked;
    }

    /// <summary>Changes a key's state where the rules allow it.</summary>
    /// <exception cref="KeyRevokedException">The state does not allow it.</exception>
    public async Task<KeyRingEntry> ChangeStateAsync(Guid id, KeyState state, string? reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var entry = await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
            if (entry.State == state)
            {
                return entry;
            }

            if (!KeyResolver.MayFollow(entry.State, state))
            {
                throw new KeyRevokedException($"Key {id} is {entry.State} and cannot become {state}.") { KeyId = id };
            }

            var now = Now();
            var changed = entry with
            {
                State = state,
                Reason = reason ?? entry.Reason,
                StateChangedAt = now,
                ActivatedAt = entry.ActivatedAt ?? (state == KeyState.Active ? now : null),
                Wrapped = state == KeyState.Destroyed ? [] : entry.Wrapped,
                Revision = entry.Revision + 1,
            };
            changed = KeyMetadataMac.Sign(mac.Key, identity.Id, changed);
            if (await store.TryUpdateAsync(changed, cancellationToken).ConfigureAwait(false))
            {
                Adopt(changed);
                AuditChange(changed);
                return changed;
            }
        }

        throw new KeyUnavailableException($"Key {id} could not be changed: others change it at the same time. Retry.") { KeyId = id };
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
        await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
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

            var draft = await DraftRowKeyAsync(lineage.Key, lineage.Max(v => v.Version) + 1, store, transient, cancellationToken).ConfigureAwait(false);
            drafts.Add(draft.Entry);
            draft.Key.Drop();
        }

        if (drafts.Count > 0)
        {
            await store.TryInsertAsync(drafts, cancellationToken).ConfigureAwait(false);
            var again = await store.FindByScopeAsync([.. drafts.Select(d => d.Scope)], KeyPurpose.Field, cancellationToken).ConfigureAwait(false);
            active.AddRange(again.GroupBy(v => v.Scope, StringComparer.Ordinal).Select(KeyResolver.FindSealing).OfType<KeyRingEntry>());
        }

        var keys = new Dictionary<string, RingKey>(StringComparer.Ordinal);
        foreach (var key in await UnwrapRowKeysAsync(active, seals: true, generation, store, transient, pins, cancellationToken).ConfigureAwait(false))
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
