using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Keys;

/// <summary>Keys from the key service: the ring's own mac key, new keys, unwrapped ones.</summary>
internal sealed partial class KeyRing
{
    private async Task<RingKey> GetMacKeyAsync(IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        if (_macKey is { } held)
        {
            return held;
        }

        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        return store.UsesCallersConnection
            ? await LoadMacKeyAsync(identity, store, transient, cancellationToken).ConfigureAwait(false)
            : await SingleFlightAsync("mac", store, own => LoadMacKeyAsync(identity, own, transient, CancellationToken.None), cancellationToken).ConfigureAwait(false);
    }

    private async Task<RingKey> LoadMacKeyAsync(RingIdentity identity, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        if (_macKey is { } held)
        {
            return held;
        }

        for (var attempt = 0; ; attempt++)
        {
            var versions = await store.FindByScopeAsync([KeyScope.Global], KeyPurpose.Mac, cancellationToken).ConfigureAwait(false);
            if (KeyResolver.FindSealing(versions) is { } entry)
            {
                if (store.IsTransient && transient.TryGet(entry.Id, out var read))
                {
                    Verify(read.Key, identity.Id, entry);
                    return read;
                }

                var loaded = new RingKey(entry, await UnwrapMacKeyAsync(entry, identity, cancellationToken).ConfigureAwait(false), null, _time.GetTimestamp());
                if (IsGenuine(loaded.Key, identity.Id, entry))
                {
                    return KeepMacKey(loaded, identity, store, transient);
                }

                loaded.Drop();
                throw KeyMetadataMac.Tampered(entry.Id);
            }

            var others = versions.Count > 0 ? [] : await store.ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false);
            if (others.Any(e => e.Purpose == KeyPurpose.Mac) && attempt <= 2)
            {
                continue;
            }

            if (versions.Count > 0 || others.Count > 0 || attempt > 2)
            {
                _audit.RingTampered(null);
                throw new KeyRingTamperedException("The key ring has no usable key for its own authentication: its row was changed or removed. Restore the ring's tables.");
            }

            var (made, material) = await GenerateAsync(identity, KeyScope.Global, KeyPurpose.Mac, 1, cancellationToken).ConfigureAwait(false);
            var isInserted = false;
            try
            {
                made = KeyMetadataMac.Sign(material, identity.Id, made);
                isInserted = await store.TryInsertAsync([made], cancellationToken).ConfigureAwait(false) == 1;
            }
            finally
            {
                if (!isInserted)
                {
                    material.Dispose();
                }
            }

            if (isInserted)
            {
                _audit.KeyCreated(made.Id, KmsContext.PurposeName(made.Purpose), made.Version);
                return KeepMacKey(new RingKey(made, material, null, _time.GetTimestamp()), identity, store, transient);
            }
        }
    }

    private async Task<DataKey> UnwrapMacKeyAsync(KeyRingEntry entry, RingIdentity identity, CancellationToken cancellationToken)
    {
        try
        {
            return await UnwrapAsync(entry, identity, cancellationToken).ConfigureAwait(false);
        }
        catch (KeyRingTamperedException error)
        {
            // Nothing vouches for the ring's own row but that this key unwraps under it.
            throw new KeyRingTamperedException(
                $"{error.Message} It is the first key of ring {identity.Id}: the ring's own row, whose id and salt stand in the encryption context, may have been changed instead. An import of the ring's export brings the salt back.", error) { KeyId = entry.Id };
        }
    }

    private RingKey KeepMacKey(RingKey key, RingIdentity identity, IKeyRingStore store, TransientKeys transient)
    {
        if (store.IsTransient)
        {
            return transient.Add(key);
        }

        lock (_state)
        {
            if (_macKey is { } first)
            {
                key.Drop();
                return first;
            }

            if (_identity is { } now && now.Id == identity.Id && now.Salt.AsSpan().SequenceEqual(identity.Salt))
            {
                return _macKey = key;
            }
        }

        key.Drop();
        throw new KeyUnavailableException("The key ring is being opened anew. Retry.");
    }

    private async Task<(KeyRingEntry Entry, DataKey Key)> GenerateAsync(RingIdentity identity, string scope, KeyPurpose purpose, int version, CancellationToken cancellationToken)
    {
        var context = KmsContext.Create(identity, scope, purpose, _fixedContext);
        var generated = await CallAsync("generate", null, () => _kms.GenerateKeyAsync(context, cancellationToken)).ConfigureAwait(false);
        try
        {
            var key = DataKey.Import(purpose, generated.Plaintext, _backend, _time);
            var now = Now();
            return (new KeyRingEntry
            {
                Id = key.Id,
                Scope = scope,
                Purpose = purpose,
                Version = version,
                State = KeyState.Active,
                Wrapped = generated.Wrapped.Ciphertext,
                RootKeyId = generated.Wrapped.RootKeyId,
                KeyMaterialId = generated.Wrapped.KeyMaterialId,
                CreatedAt = now,
                ActivatedAt = now,
                StateChangedAt = now,
                Revision = 1,
            }, key);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(generated.Plaintext);
        }
    }

    /// <summary>Unwraps by the key service and compares the derived id (G12).</summary>
    private async Task<DataKey> UnwrapAsync(KeyRingEntry entry, RingIdentity identity, CancellationToken cancellationToken)
    {
        if (entry.RootKeyId is null || entry.Wrapped.Length == 0)
        {
            throw Tampered(entry.Id, $"The ring's row of key {entry.Id} holds no wrapped key. Restore the row.");
        }

        var context = KmsContext.Create(identity, entry.Scope, entry.Purpose, _fixedContext);
        var wrapped = new WrappedKey(entry.RootKeyId, entry.Wrapped, entry.KeyMaterialId);
        var material = await CallAsync("unwrap", entry.Id, () => _kms.UnwrapAsync(wrapped, context, cancellationToken)).ConfigureAwait(false);
        try
        {
            return material.Length == DataKey.MaterialBytes && DataKey.DeriveId(entry.Purpose, material) == entry.Id
                ? DataKey.Import(entry.Purpose, material, _backend, _time)
                : throw Tampered(entry.Id, $"The wrapped key of ring row {entry.Id} unwraps to another key than its id commits to: the row was changed or moved. The key is not used. Restore the row.");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }
}
