using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Which key opens. Every key that is handed out is pinned for the caller.</summary>
internal sealed partial class KeyRing
{
    private const int MaxUnopenable = 100_000;

    /// <summary>A held key, when its state is confirmed and its age in bounds. No I/O; false means that <see cref="LoadForOpeningAsync"/> is to be awaited.</summary>
    public bool TryGetForOpening(Guid id, KeyPins pins, out RingKey key)
    {
        key = null!;
        if (!IsConfirmedForOpening || !_keys.TryGetValue(id, out key!) || !KeyResolver.MayOpen(key.State) || key.Key.Purpose != KeyPurpose.Field
            || (key.Kek ?? key).Refusal is not null || IsRevalidationDue(key) || !key.IsAlive || !pins.TryPin(key, out key))
        {
            return false;
        }

        key.LastUsed = Environment.TickCount64;
        RevalidateAhead(key);
        return true;
    }

    /// <summary>
    /// Whether a pinned key may be used on: a pin keeps its bytes, not the permission. No I/O; false means that <see cref="LoadForOpeningAsync"/> is to be awaited, which lets go of one that was revoked, destroyed or refused.
    /// </summary>
    public bool MayOpenOn(RingKey key)
    {
        // What is due is asked in the background: a reader that waited with each row while the key service is away would hold its connection for hours.
        if (!IsConfirmedForOpening || !key.IsAlive || !IsUsable(key) || KeyResolver.IsTooOld(_time.GetElapsedTime((key.Kek ?? key).ValidatedAt), _options))
        {
            return false;
        }

        RevalidateAhead(key);
        return true;
    }

    /// <summary>Whether neither the ring nor the key service has said no, as this process knows.</summary>
    public static bool IsUsable(RingKey key) => KeyResolver.MayOpen(key.State) && (key.Kek is not { } kek || KeyResolver.MayOpen(kek.State)) && (key.Kek ?? key).Refusal is null;

    /// <summary>A held key whatever the time: for cells that were checked when they were read, and are opened later. Never a revoked, destroyed or refused one.</summary>
    public bool TryGetHeld(Guid id, out RingKey key)
        => _keys.TryGetValue(id, out key!) && key.Key.Purpose == KeyPurpose.Field && KeyResolver.MayOpen(key.State) && (key.Kek ?? key).Refusal is null;

    /// <summary>Why a key does not open, where that is known.</summary>
    public EnvelopeEncryptionException? FindError(Guid id)
        => _keys.TryGetValue(id, out var key) ? key.Key.Purpose == KeyPurpose.Field ? (key.Kek ?? key).Refusal : KeyResolver.NoDataKey(id) : _unopenable.TryGetValue(id, out var known) ? known.Error : null;

    /// <summary>
    /// Makes keys ready to open with, and pins them: confirms the ring where the lease is over, loads what is missing in at most one ring query per 1,000 ids, unwraps each key once.
    /// Ids that cannot be opened are remembered; <see cref="GetForOpening"/> says why.
    /// </summary>
    public async ValueTask LoadForOpeningAsync(IReadOnlyCollection<Guid> ids, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        try
        {
            await EnsureConfirmedAsync(store, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is KeyUnavailableException or System.Data.Common.DbException && _identity is not null && !KeyResolver.IsTooOld(SinceAnswered, _options))
        {
            // The ring is out of reach: held keys open on, up to their stated age.
            Volatile.Write(ref _outageUntil, PauseEnd);
        }

        IReadOnlyCollection<Guid> missing = ids;
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            missing = await PinHeldAsync(missing, transient, pins, cancellationToken).ConfigureAwait(false);
            if (missing.Count == 0)
            {
                return;
            }

            var unknown = await LoadMissingAsync(missing, store, transient, pins, cancellationToken).ConfigureAwait(false);
            if (!transient.InTransaction)
            {
                unknown.ForEach(id => Remember(KeyResolver.OpeningError(id, null)));
            }
            else if (unknown.Count > 0)
            {
                // Another context on the same transaction may have made them; once it commits, they are known.
                missing = [.. missing.Except(unknown)];
            }
        }

        throw new KeyUnavailableException("The keys of a query could not be loaded: the ring changes all the time. Retry.");
    }

    /// <summary>The key, or the typed error that says why it does not open.</summary>
    public RingKey GetForOpening(Guid id, TransientKeys transient)
    {
        if (_keys.TryGetValue(id, out var key))
        {
            if (key.Key.Purpose != KeyPurpose.Field)
            {
                throw KeyResolver.NoDataKey(id);
            }

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

        throw _unopenable.TryGetValue(id, out var known) ? known.Error
            : transient.InTransaction ? new KeyNotFoundInRingException(
                $"The key ring holds no key {id}: another context of the same open transaction may have made it, and knows it alone until they commit - read the row with that context, or when it is committed. Else the value is foreign or damaged, or the ring was restored from before the key was made: import the ring's export, or restore its table.") { KeyId = id }
            : KeyResolver.OpeningError(id, null);
    }

    private bool IsConfirmedForOpening => IsConfirmed || _time.GetTimestamp() < Volatile.Read(ref _outageUntil);

    /// <summary>Pins what is held, revalidated where that is due; answers with what is neither held nor known not to open.</summary>
    private async Task<List<Guid>> PinHeldAsync(IReadOnlyCollection<Guid> ids, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var missing = new List<Guid>();
        foreach (var id in ids)
        {
            if (pins.TryGet(id, out var pinned) && !pinned.IsAlive)
            {
                // Revoked or destroyed since it was pinned, or its transaction is over.
                pins.Release(pinned);
                pinned = null;
            }

            if (transient.TryGetForOpening(id, out var own) && pins.TryPin(own, out _))
            {
                continue;
            }

            if (_keys.TryGetValue(id, out var held) && held.Key.Purpose == KeyPurpose.Field)
            {
                try
                {
                    await RevalidateAsync(held, cancellationToken).ConfigureAwait(false);
                }
                catch (EnvelopeEncryptionException error) when (error is not KeyUnavailableException)
                {
                    // The key's refusal is remembered with the key; other keys of the query open.
                    pins.Release(held);
                    continue;
                }

                if (pins.TryPin(held, out _))
                {
                    held.LastUsed = Environment.TickCount64;
                    continue;
                }
            }

            if (pinned is null && !IsKnownUnopenable(id))
            {
                missing.Add(id);
            }
        }

        return missing;
    }

    /// <returns>The ids that no row of the ring has.</returns>
    private async Task<List<Guid>> LoadMissingAsync(IReadOnlyCollection<Guid> missing, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        var generation = Interlocked.Read(ref _generation);
        var entries = await store.FindByIdAsync(missing, cancellationToken).ConfigureAwait(false);
        var present = new HashSet<Guid>();
        var rowKeys = new List<KeyRingEntry>();
        foreach (var entry in entries)
        {
            present.Add(entry.Id);
            if (!IsGenuine(mac.Key, identity.Id, entry))
            {
                Remember(KeyMetadataMac.Tampered(entry.Id));
            }
            else if (!KeyResolver.MayOpen(entry.State) || entry.Purpose != KeyPurpose.Field)
            {
                Remember(entry.Purpose == KeyPurpose.Field ? KeyResolver.OpeningError(entry.Id, entry) : KeyResolver.NoDataKey(entry.Id));
            }
            else if (entry.KekId is not null)
            {
                rowKeys.Add(entry);
            }
            else
            {
                try
                {
                    await LoadOneAsync(entry, generation, identity, store, transient, pins, cancellationToken).ConfigureAwait(false);
                }
                catch (EnvelopeEncryptionException error) when (error is KeyRefusedException or KeyRingTamperedException)
                {
                    Remember(WithKey(error, entry.Id));
                }
            }
        }

        await UnwrapRowKeysAsync(rowKeys, areGenuine: true, seals: false, generation, store, transient, pins, cancellationToken).ConfigureAwait(false);
        return [.. missing.Where(id => !present.Contains(id))];
    }

    /// <summary>Unwraps a key by the key service, enters it and pins it; null when the ring changed meanwhile, and its row is to be read again.</summary>
    private async Task<RingKey?> LoadOneAsync(
        KeyRingEntry entry, long generation, RingIdentity identity, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var key = store.UsesCallersConnection
            ? await EnterAsync(store, cancellationToken).ConfigureAwait(false)
            : await SingleFlightAsync("open " + entry.Id, store, own => EnterAsync(own, CancellationToken.None), cancellationToken).ConfigureAwait(false);
        return pins.TryPin(key, out key) ? key : null;

        async Task<RingKey> EnterAsync(IKeyRingStore own, CancellationToken token)
        {
            var obtained = await ObtainAsync(entry, identity, own, transient, token).ConfigureAwait(false);
            TryKeep(obtained, entry.Revision, seals: false, generation, identity.Id, own, transient, out obtained);
            return obtained;
        }
    }

    /// <summary>
    /// Unwraps row keys under their keks, which are loaded first, and pins them. A row that is not genuine is remembered, with its error, and left out; so is one whose state changed
    /// meanwhile.
    /// </summary>
    private async Task<List<RingKey>> UnwrapRowKeysAsync(
        List<KeyRingEntry> entries, bool areGenuine, bool seals, long generation, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var unwrapped = new List<RingKey>(entries.Count);
        if (entries.Count == 0)
        {
            return unwrapped;
        }

        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        using var kekPins = new KeyPins();
        var unusable = new Dictionary<Guid, EnvelopeEncryptionException>();
        var keks = await LoadKeksAsync([.. entries.Select(e => e.KekId).OfType<Guid>().Distinct()], unusable, identity, mac, store, transient, kekPins, cancellationToken).ConfigureAwait(false);
        foreach (var entry in entries)
        {
            try
            {
                if (entry.KekId is { } kekId && unusable.TryGetValue(kekId, out var why))
                {
                    throw WithKey(why, entry.Id);
                }

                if (!areGenuine)
                {
                    Verify(mac.Key, identity.Id, entry);
                }

                var key = UnwrapRowKey(entry, keks, store, transient);
                if (TryKeep(key, entry.Revision, seals, generation, identity.Id, store, transient, out key) && pins.TryPin(key, out key))
                {
                    unwrapped.Add(key);
                }
            }
            catch (EnvelopeEncryptionException error) when (!seals && error is not KeyUnavailableException)
            {
                Remember(error);
            }
        }

        return unwrapped;
    }

    private RingKey UnwrapRowKey(KeyRingEntry entry, Dictionary<Guid, RingKey> keks, IKeyRingStore store, TransientKeys transient)
    {
        if ((_keys.TryGetValue(entry.Id, out var held) && held.IsAlive) || (store.IsTransient && transient.TryGet(entry.Id, out held)))
        {
            return held;
        }

        if (entry.KekId is not { } kekId || !keks.TryGetValue(kekId, out var kek) || kek.Scope != KeyScope.ParentOf(entry.Scope))
        {
            throw Tampered(entry.Id, $"The ring's row of key {entry.Id} names no usable kek of its scope. The key is not used. Restore the row.");
        }

        try
        {
            return new RingKey(entry, EnvelopeCodec.UnwrapKey(kek.Key, entry.Wrapped, KeyPurpose.Field, entry.Id, entry.Scope), kek, kek.ValidatedAt);
        }
        catch (EnvelopeRefusedException refused)
        {
            throw Tampered(entry.Id, $"The wrapped key of ring row {entry.Id} is not the key that its id commits to: the row was changed or moved. The key is not used. Restore the row.", refused);
        }
    }

    /// <summary>The keks that open row keys, pinned; why the others cannot be used is told in <paramref name="unusable"/>.</summary>
    private async Task<Dictionary<Guid, RingKey>> LoadKeksAsync(
        IReadOnlyCollection<Guid> ids, Dictionary<Guid, EnvelopeEncryptionException> unusable, RingIdentity identity, RingKey mac, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var keks = new Dictionary<Guid, RingKey>();
        var missing = new List<Guid>(ids);
        for (var attempt = 0; attempt < MaxAttempts && missing.Count > 0; attempt++)
        {
            var generation = Interlocked.Read(ref _generation);
            var unheld = missing.Where(id => !(_keys.TryGetValue(id, out var held) && held.IsAlive) && !(store.IsTransient && transient.TryGet(id, out _))).ToList();
            var entries = unheld.Count == 0 ? [] : await store.FindByIdAsync(unheld, cancellationToken).ConfigureAwait(false);
            foreach (var id in missing.ToList())
            {
                try
                {
                    if ((_keys.TryGetValue(id, out var kek) || (store.IsTransient && transient.TryGet(id, out kek))) && pins.TryPin(kek, out kek))
                    {
                        await RevalidateAsync(kek, cancellationToken).ConfigureAwait(false);
                        keks[id] = kek;
                        missing.Remove(id);
                    }
                    else if (entries.FirstOrDefault(e => e.Id == id) is { } entry)
                    {
                        Verify(mac.Key, identity.Id, entry);
                        if (entry.Purpose != KeyPurpose.Kek || !KeyResolver.MayOpen(entry.State))
                        {
                            throw KeyResolver.OpeningError(entry.Id, entry);
                        }

                        if (await LoadOneAsync(entry, generation, identity, store, transient, pins, cancellationToken).ConfigureAwait(false) is { } loaded)
                        {
                            keks[id] = loaded;
                            missing.Remove(id);
                        }
                    }
                    else if (unheld.Contains(id))
                    {
                        missing.Remove(id);
                    }
                }
                catch (EnvelopeEncryptionException error) when (error is not KeyUnavailableException)
                {
                    unusable[id] = error;
                    missing.Remove(id);
                }
            }
        }

        return keks;
    }

    private bool IsKnownUnopenable(Guid id)
        => _unopenable.TryGetValue(id, out var known) && (known.Permanent || _time.GetElapsedTime(known.At) < UnknownMemory);

    private void Remember(EnvelopeEncryptionException error)
    {
        if (error.KeyId is not { } id)
        {
            return;
        }

        if (_unopenable.Count >= MaxUnopenable)
        {
            _unopenable.Clear();
        }

        _unopenable[id] = new Unopenable(error, _time.GetTimestamp(), Permanent: false);
    }

    /// <summary>An error that does not know which key it is about, or knows the kek only, with the key's id.</summary>
    private static EnvelopeEncryptionException WithKey(EnvelopeEncryptionException error, Guid id)
    {
        var message = $"Key {id}: {error.Message}";
        return error switch
        {
            _ when error.KeyId == id => error,
            KeyRefusedException => new KeyRefusedException(message, error) { KeyId = id },
            KeyDestroyedException => new KeyDestroyedException(message, error) { KeyId = id },
            KeyRevokedException => new KeyRevokedException(message, error) { KeyId = id },
            KeyNotFoundInRingException => new KeyNotFoundInRingException(message, error) { KeyId = id },
            _ => new KeyRingTamperedException(message, error) { KeyId = id },
        };
    }
}
