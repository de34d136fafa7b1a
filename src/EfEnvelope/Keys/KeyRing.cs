using System.Collections.Concurrent;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Keys;

/// <summary>
/// One ring in this process: the cache of its keys, the sealing lease, and every change of a key's state. Thread safe. The cache holds only keys that
/// were read from committed rows. One query of the ring's epoch confirms everything that is held; see <see cref="KeyResolver"/> for the rules.
/// </summary>
internal sealed partial class KeyRing
{
    private static readonly TimeSpan OutagePause = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan UnknownMemory = TimeSpan.FromSeconds(5);

    private readonly IKeyManagementService _kms;
    private readonly KeyRingOptions _options;
    private readonly IReadOnlyDictionary<string, string> _fixedContext;
    private readonly TimeProvider _time;
    private readonly AeadBackend _backend;

    private readonly ConcurrentDictionary<Guid, RingKey> _keys = new();
    private readonly ConcurrentDictionary<string, RingKey> _sealing = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Guid, Unopenable> _unopenable = new();
    private readonly ConcurrentDictionary<string, Lazy<Task<RingKey>>> _flights = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _refreshing = new(1, 1);

    private volatile RingIdentity? _identity;
    private volatile RingKey? _macKey;
    private long _confirmedAt;
    private long _outageUntil;
    private int _refreshRunning;

    public KeyRing(IKeyManagementService kms, KeyRingOptions options, IReadOnlyDictionary<string, string> fixedContext, TimeProvider time)
    {
        _kms = kms;
        _options = options;
        _fixedContext = fixedContext;
        _time = time;
        _backend = CipherBackends.Select(options.Cipher, options.RequireFips);
    }

    public KeyRingOptions Options => _options;

    public TimeProvider Time => _time;

    /// <summary>The ring's UUID; null before its first use.</summary>
    public Guid? Id => _identity?.Id;

    /// <summary>Number of keys held.</summary>
    public int Count => _keys.Count;

    /// <summary>Whether every held state was confirmed within the lease.</summary>
    private bool IsConfirmed => _identity is not null && KeyResolver.IsLeaseValid(SinceConfirmed, _options.SealingLease);

    private TimeSpan SinceConfirmed => _time.GetElapsedTime(Volatile.Read(ref _confirmedAt));

    /// <summary>Drops every key and forgets the ring's identity: the database was dropped, recreated or restored.</summary>
    public void Invalidate()
    {
        _sealing.Clear();
        _unopenable.Clear();
        _macKey = null;
        _identity = null;
        foreach (var (id, key) in _keys)
        {
            if (_keys.TryRemove(id, out _))
            {
                KeyRingRegistry.Remove(id, this);
                key.Drop();
            }
        }
    }

    /// <summary>Confirms all held states now: reads the ring's epoch, and what changed since.</summary>
    public async Task ConfirmAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        await _refreshing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await ConfirmCoreAsync(store, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _refreshing.Release();
        }
    }

    /// <summary>The ring's identity, read on first use.</summary>
    private async ValueTask<RingIdentity> GetIdentityAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (_identity is { } known)
        {
            return known;
        }

        if (store.IsTransient)
        {
            // The ring's own row may have been made in the caller's transaction, and go with it: it is not remembered.
            return await store.GetIdentityAsync(cancellationToken).ConfigureAwait(false);
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return _identity!;
    }

    private async ValueTask EnsureConfirmedAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (IsConfirmed || (store.IsTransient && _identity is null))
        {
            return;
        }

        await _refreshing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (!IsConfirmed)
            {
                await ConfirmCoreAsync(store, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            _refreshing.Release();
        }
    }

    private async Task ConfirmCoreAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        // Taken before the query is sent: what it answers was true then, not when it arrived.
        var asked = _time.GetTimestamp();
        var identity = await store.GetIdentityAsync(cancellationToken).ConfigureAwait(false);
        if (_identity is { } known && known.Id != identity.Id)
        {
            Invalidate();
        }
        else if (_identity is { } held && held.Epoch != identity.Epoch)
        {
            if (identity.Epoch < held.Epoch)
            {
                // The ring went back in time: a restore. Nothing that is held can be trusted to be there.
                Invalidate();
            }
            else
            {
                foreach (var entry in await store.FindChangedAsync(held.Epoch, cancellationToken).ConfigureAwait(false))
                {
                    Adopt(entry);
                }
            }
        }

        _identity = identity;
        Volatile.Write(ref _confirmedAt, asked);
    }

    /// <summary>Takes up a changed row: new states count at once; a new version ends the old one's sealing.</summary>
    private void Adopt(KeyRingEntry entry)
    {
        if (_sealing.TryGetValue(entry.Scope, out var sealing) && (sealing.Id != entry.Id || !KeyResolver.MaySeal(entry.State)))
        {
            _sealing.TryRemove(entry.Scope, out _);
        }

        _unopenable.TryRemove(entry.Id, out _);
        if (!_keys.TryGetValue(entry.Id, out var key))
        {
            return;
        }

        if (_macKey is { } mac && _identity is { } identity)
        {
            KeyMetadataMac.Verify(mac.Key, identity.Id, entry);
        }

        key.Entry = entry;
        if (!KeyResolver.MayOpen(entry.State))
        {
            Forget(key);
            _unopenable[entry.Id] = new Unopenable(KeyResolver.OpeningError(entry.Id, entry), _time.GetTimestamp(), Permanent: true);
        }
    }

    private void Forget(RingKey key)
    {
        _sealing.TryRemove(new KeyValuePair<string, RingKey>(key.Scope, key));
        if (_keys.TryRemove(new KeyValuePair<Guid, RingKey>(key.Id, key)))
        {
            KeyRingRegistry.Remove(key.Id, this);
            key.Drop();
        }
    }

    /// <summary>Confirms ahead of the lease in the background, once at a time. Only stores of the ring's own connection may outlive their caller.</summary>
    private void RefreshAhead(IKeyRingStore store)
    {
        if (store.UsesCallersConnection || !KeyResolver.IsRefreshDue(SinceConfirmed, _options.SealingLease) || Interlocked.Exchange(ref _refreshRunning, 1) != 0)
        {
            return;
        }

        _ = Task.Run(async () =>
        {
            try
            {
                await ConfirmAsync(store, CancellationToken.None).ConfigureAwait(false);
            }
            catch (EnvelopeEncryptionException)
            {
                // An outage: keys serve on within their lease; the next use tries again, and says so when the lease is over.
            }
            finally
            {
                Volatile.Write(ref _refreshRunning, 0);
            }
        });
    }

    private async Task<RingKey> GetMacKeyAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (_macKey is { } held)
        {
            return held;
        }

        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        if (store.UsesCallersConnection)
        {
            return await LoadMacKeyAsync(identity, store, cancellationToken).ConfigureAwait(false);
        }

        return await SingleFlightAsync("mac", () => LoadMacKeyAsync(identity, store, CancellationToken.None), cancellationToken).ConfigureAwait(false);
    }

    private async Task<RingKey> LoadMacKeyAsync(RingIdentity identity, IKeyRingStore store, CancellationToken cancellationToken)
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
                var key = await UnwrapAsync(entry, identity, cancellationToken).ConfigureAwait(false);
                KeyMetadataMac.Verify(key, identity.Id, entry);
                var loaded = new RingKey(entry, key, null, _time.GetTimestamp());
                if (!store.IsTransient)
                {
                    _macKey = loaded;
                }

                return loaded;
            }

            if (versions.Count > 0 || attempt > 2)
            {
                throw new KeyRingTamperedException("The key ring has no usable key for its own authentication: its row was changed or removed. Restore the ring's tables.");
            }

            var (made, material) = await GenerateAsync(identity, KeyScope.Global, KeyPurpose.Mac, 1, cancellationToken).ConfigureAwait(false);
            await store.TryInsertAsync([KeyMetadataMac.Sign(material, identity.Id, made)], cancellationToken).ConfigureAwait(false);
            material.Dispose();
        }
    }

    private async Task<(KeyRingEntry Entry, DataKey Key)> GenerateAsync(RingIdentity identity, string scope, KeyPurpose purpose, int version, CancellationToken cancellationToken)
    {
        var generated = await _kms.GenerateKeyAsync(KmsContext.Create(identity, scope, purpose, _fixedContext), cancellationToken).ConfigureAwait(false);
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
            throw new KeyRingTamperedException($"The ring's row of key {entry.Id} holds no wrapped key. Restore the row.") { KeyId = entry.Id };
        }

        var context = KmsContext.Create(identity, entry.Scope, entry.Purpose, _fixedContext);
        var material = await _kms.UnwrapAsync(new WrappedKey(entry.RootKeyId, entry.Wrapped, entry.KeyMaterialId), context, cancellationToken).ConfigureAwait(false);
        try
        {
            return material.Length == DataKey.MaterialBytes && DataKey.DeriveId(entry.Purpose, material) == entry.Id
                ? DataKey.Import(entry.Purpose, material, _backend, _time)
                : throw new KeyRingTamperedException(
                    $"The wrapped key of ring row {entry.Id} unwraps to another key than its id commits to: the row was changed or moved. The key is not used. Restore the row.") { KeyId = entry.Id };
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    /// <summary>One call in flight per name; a caller that gives up does not cancel it for the others.</summary>
    private async Task<RingKey> SingleFlightAsync(string name, Func<Task<RingKey>> call, CancellationToken cancellationToken)
    {
        var flight = _flights.GetOrAdd(name, _ => new Lazy<Task<RingKey>>(() => Task.Run(call)));
        try
        {
            return await flight.Value.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (flight.Value.IsCompleted)
            {
                _flights.TryRemove(new KeyValuePair<string, Lazy<Task<RingKey>>>(name, flight));
            }
        }
    }

    /// <summary>UTC, to the microsecond: what every provider stores and gives back unchanged.</summary>
    private DateTimeOffset Now()
    {
        var now = _time.GetUtcNow();
        return new DateTimeOffset(now.UtcTicks - (now.UtcTicks % 10), TimeSpan.Zero);
    }

    private void Evict()
    {
        if (_keys.Count <= _options.MaxCachedKeys)
        {
            return;
        }

        var surplus = _keys.Count - (_options.MaxCachedKeys * 9 / 10);
        foreach (var key in _keys.Values.Where(k => !k.IsPinned && k.Key.Purpose == KeyPurpose.Field).OrderBy(k => k.LastUsed).Take(surplus).ToList())
        {
            Forget(key);
        }
    }

    private sealed record Unopenable(EnvelopeEncryptionException Error, long At, bool Permanent);
}
