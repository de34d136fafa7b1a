using System.Collections.Concurrent;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Which key opens.</summary>
internal sealed partial class KeyRing
{
    private const int MaxUnopenable = 100_000;

    /// <summary>A held key, when its state is confirmed and its age in bounds. No I/O; false means that <see cref="LoadForOpeningAsync"/> is to be awaited.</summary>
    public bool TryGetForOpening(Guid id, out RingKey key)
    {
        if (!_keys.TryGetValue(id, out key!) || !IsConfirmedForOpening || (key.Kek ?? key).Refusal is not null || IsRevalidationDue(key))
        {
            return false;
        }

        key.LastUsed = Environment.TickCount64;
        return true;
    }

    /// <summary>A held key whatever the time: for cells that were checked when they were read, and are opened later. Never a revoked or destroyed one.</summary>
    public bool TryGetHeld(Guid id, out RingKey key) => _keys.TryGetValue(id, out key!) && KeyResolver.MayOpen(key.State);

    /// <summary>
    /// Makes keys ready to open with: confirms the ring where the lease is over, loads what is missing in at most one ring query per 500 ids, unwraps each key once.
    /// Ids that cannot be opened are remembered; <see cref="GetForOpening"/> says why.
    /// </summary>
    public async ValueTask LoadForOpeningAsync(IReadOnlyCollection<Guid> ids, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        try
        {
            await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
        }
        catch (KeyUnavailableException) when (_identity is not null && !KeyResolver.IsTooOld(SinceConfirmed, _options))
        {
            // The ring is out of reach: held keys open on, up to their stated age.
            Volatile.Write(ref _outageUntil, _time.GetTimestamp() + (long)(OutagePause.TotalSeconds * _time.TimestampFrequency));
        }

        var missing = new List<Guid>();
        foreach (var id in ids)
        {
            if (_keys.TryGetValue(id, out var held))
            {
                await RevalidateAsync(held, cancellationToken).ConfigureAwait(false);
            }
            else if (!transient.TryGetForOpening(id, out _) && !IsKnownUnopenable(id))
            {
                missing.Add(id);
            }
        }

        if (missing.Count == 0)
        {
            return;
        }

        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, cancellationToken).ConfigureAwait(false);
        var entries = await store.FindByIdAsync(missing, cancellationToken).ConfigureAwait(false);
        var present = new HashSet<Guid>();
        var rowKeys = new List<KeyRingEntry>();
        foreach (var entry in entries)
        {
            present.Add(entry.Id);
            KeyMetadataMac.Verify(mac.Key, identity.Id, entry);
            if (!KeyResolver.MayOpen(entry.State) || entry.Purpose != KeyPurpose.Field)
            {
                Remember(entry.Id, KeyResolver.OpeningError(entry.Id, entry.Purpose == KeyPurpose.Field ? entry : null), permanent: false);
            }
            else if (entry.KekId is not null)
            {
                rowKeys.Add(entry);
            }
            else if (store.UsesCallersConnection)
            {
                await LoadOneAsync(entry, identity, store, transient, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                await SingleFlightAsync("open " + entry.Id, () => LoadOneAsync(entry, identity, store, transient, CancellationToken.None), cancellationToken).ConfigureAwait(false);
            }
        }

        foreach (var key in await UnwrapRowKeysAsync(rowKeys, store, transient, cancellationToken).ConfigureAwait(false))
        {
            Keep(key, KeyPurpose.Field, seals: false, store, transient);
        }

        foreach (var id in missing)
        {
            if (!present.Contains(id))
            {
                Remember(id, KeyResolver.OpeningError(id, null), permanent: false);
            }
        }
    }

    /// <summary>The key, or the typed error that says why it does not open.</summary>
    public RingKey GetForOpening(Guid id, TransientKeys transient)
    {
        if (_keys.TryGetValue(id, out var key))
        {
            if ((key.Kek ?? key).Refusal is { } refusal)
            {
                throw refusal;
            }

            key.LastUsed = Environment.TickCount64;
            return key;
        }

        if (transient.TryGetForOpening(id, out key))
        {
            return key;
        }

        throw _unopenable.TryGetValue(id, out var known) ? known.Error : KeyResolver.OpeningError(id, null);
    }

    private bool IsConfirmedForOpening => IsConfirmed || _time.GetTimestamp() < Volatile.Read(ref _outageUntil);

    private async Task<RingKey> LoadOneAsync(KeyRingEntry entry, RingIdentity identity, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        if (_keys.TryGetValue(entry.Id, out var held) && !held.Key.IsDisposed)
        {
            return held;
        }

        var asked = _time.GetTimestamp();
        var key = await UnwrapAsync(entry, identity, cancellationToken).ConfigureAwait(false);
        return Keep(new RingKey(entry, key, null, asked), KeyPurpose.Field, seals: false, store, transient);
    }

    /// <summary>Unwraps row keys under their keks, which are loaded first.</summary>
    private async Task<List<RingKey>> UnwrapRowKeysAsync(
        IReadOnlyCollection<KeyRingEntry> entries, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var unwrapped = new List<RingKey>(entries.Count);
        if (entries.Count == 0)
        {
            return unwrapped;
        }

        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, cancellationToken).ConfigureAwait(false);
        var keks = await LoadKeksAsync([.. entries.Select(e => e.KekId).OfType<Guid>().Distinct()], identity, mac, store, transient, cancellationToken).ConfigureAwait(false);
        foreach (var entry in entries)
        {
            KeyMetadataMac.Verify(mac.Key, identity.Id, entry);
            if (_keys.TryGetValue(entry.Id, out var held) && !held.Key.IsDisposed)
            {
                unwrapped.Add(held);
                continue;
            }

            if (entry.KekId is not { } kekId || !keks.TryGetValue(kekId, out var kek) || kek.Scope != KeyScope.ParentOf(entry.Scope))
            {
                throw new KeyRingTamperedException($"The ring's row of key {entry.Id} names no kek of its scope. The key is not used. Restore the row.") { KeyId = entry.Id };
            }

            try
            {
                unwrapped.Add(new RingKey(entry, EnvelopeCodec.UnwrapKey(kek.Key, entry.Wrapped, KeyPurpose.Field, entry.Id, entry.Scope), kek, kek.ValidatedAt));
            }
            catch (EnvelopeRefusedException refused)
            {
                throw new KeyRingTamperedException($"The wrapped key of ring row {entry.Id} is not the key that its id commits to: the row was changed or moved. The key is not used. Restore the row.", refused) { KeyId = entry.Id };
            }
        }

        return unwrapped;
    }

    private async Task<Dictionary<Guid, RingKey>> LoadKeksAsync(
        IReadOnlyCollection<Guid> ids, RingIdentity identity, RingKey mac, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        var keks = new Dictionary<Guid, RingKey>();
        var missing = new List<Guid>();
        foreach (var id in ids)
        {
            if (_keys.TryGetValue(id, out var held) && !held.Key.IsDisposed)
            {
                await RevalidateAsync(held, cancellationToken).ConfigureAwait(false);
                keks[id] = held;
            }
            else if (transient.TryGetForOpening(id, out held))
            {
                keks[id] = held;
            }
            else
            {
                missing.Add(id);
            }
        }

        if (missing.Count == 0)
        {
            return keks;
        }

        foreach (var entry in await store.FindByIdAsync(missing, cancellationToken).ConfigureAwait(false))
        {
            KeyMetadataMac.Verify(mac.Key, identity.Id, entry);
            if (entry.Purpose != KeyPurpose.Kek || !KeyResolver.MayOpen(entry.State))
            {
                throw KeyResolver.OpeningError(entry.Id, entry);
            }

            keks[entry.Id] = store.UsesCallersConnection
                ? await LoadKekAsync(entry).ConfigureAwait(false)
                : await SingleFlightAsync("open " + entry.Id, () => LoadKekAsync(entry), cancellationToken).ConfigureAwait(false);
        }

        return keks;

        async Task<RingKey> LoadKekAsync(KeyRingEntry entry)
        {
            if (_keys.TryGetValue(entry.Id, out var held) && !held.Key.IsDisposed)
            {
                return held;
            }

            var asked = _time.GetTimestamp();
            return Keep(new RingKey(entry, await UnwrapAsync(entry, identity, CancellationToken.None).ConfigureAwait(false), null, asked), KeyPurpose.Kek, seals: false, store, transient);
        }
    }

    private bool IsKnownUnopenable(Guid id)
        => _unopenable.TryGetValue(id, out var known) && (known.Permanent || _time.GetElapsedTime(known.At) < UnknownMemory);

    private void Remember(Guid id, EnvelopeEncryptionException error, bool permanent)
    {
        if (_unopenable.Count >= MaxUnopenable)
        {
            _unopenable.Clear();
        }

        _unopenable[id] = new Unopenable(error, _time.GetTimestamp(), permanent);
    }
}
