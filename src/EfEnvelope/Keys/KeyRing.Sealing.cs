using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Which key seals. Every key that is handed out is pinned for the caller.</summary>
internal sealed partial class KeyRing
{
    /// <summary>The sealing key of one scope; see the other overload.</summary>
    public async ValueTask<RingKey> GetForSealingAsync(string scope, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        if (!store.IsTransient && TryGetForSealing(scope, out var held) && pins.TryPin(held, out held))
        {
            RefreshAhead(store, held);
            return held;
        }

        return (await GetForSealingAsync([scope], store, transient, pins, cancellationToken).ConfigureAwait(false))[scope];
    }

    /// <summary>
    /// The scopes' sealing keys, in few queries, each with a state that was confirmed within the lease when this returns. Scope keys are made on first use and committed before; racing
    /// creators end with the same one. A row scope's key must exist.
    /// </summary>
    public ValueTask<Dictionary<string, RingKey>> GetForSealingAsync(
        IReadOnlyCollection<string> scopes, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var found = new Dictionary<string, RingKey>(scopes.Count, StringComparer.Ordinal);
        var before = pins.Ids;
        foreach (var scope in scopes)
        {
            if (store.IsTransient || !TryGetForSealing(scope, out var key) || !pins.TryPin(key, out key))
            {
                return LoadForSealingAsync(found, before, scopes, store, transient, pins, cancellationToken);
            }

            found[scope] = key;
            RefreshAhead(store, key);
        }

        return new(found);
    }

    /// <summary>Whether what was sealed under a confirmation may be written without asking again.</summary>
    public bool IsFresh(Confirmation confirmed) => KeyResolver.IsLeaseValid(_time.GetElapsedTime(confirmed.At), _time.GetUtcNow() - confirmed.WallClock, _options.SealingLease);

    /// <summary>Whether a confirmation is to be renewed in the background.</summary>
    public bool IsRefreshDue(Confirmation confirmed) => KeyResolver.IsRefreshDue(_time.GetElapsedTime(confirmed.At), _options.SealingLease);

    private async ValueTask<Dictionary<string, RingKey>> LoadForSealingAsync(
        Dictionary<string, RingKey> found, IReadOnlyCollection<Guid> before, IReadOnlyCollection<string> scopes, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var attempts = 0;
        bool complete;
        do
        {
            complete = true;
            if (++attempts > MaxAttempts)
            {
                throw TooSlow();
            }

            found.Clear();
            await DeclareLeaseAsync(store, cancellationToken).ConfigureAwait(false);
            await EnsureConfirmedForSealingAsync(store, cancellationToken).ConfigureAwait(false);
            List<string>? rows = null;
            foreach (var scope in scopes)
            {
                if (KeyScope.KindOf(scope) != ScopeKind.Row)
                {
                    found[scope] = await GetScopeKeyAsync(scope, KeyPurpose.Field, store, transient, pins, cancellationToken).ConfigureAwait(false);
                }
                else if (!store.IsTransient && TryGetForSealing(scope, out var held) && pins.TryPin(held, out held))
                {
                    found[scope] = held;
                }
                else
                {
                    (rows ??= []).Add(scope);
                }
            }

            if (rows is not null)
            {
                complete = await LoadRowSealingAsync(rows, found, store, transient, pins, cancellationToken).ConfigureAwait(false);
            }
        }
        while (!store.IsTransient && !(complete && IsConfirmedForSealing && MaySeal(found)));

        // A key that was chosen first and retired while another was fetched sealed nothing: whoever asks whether these keys may still seal is not to meet it.
        pins.ReleaseOthers(before, found.Values);

        foreach (var key in found.Values)
        {
            RefreshAhead(store, key);
        }

        return found;
    }

    /// <summary>
    /// Before the first key is held for sealing: the ring keeps the longest lease of all its processes, so that a cut-off waits for them whatever its own process's lease is. Confirmed anew after that, so that no process seals on
    /// what it had read before anybody could know of its lease.
    /// </summary>
    private async ValueTask DeclareLeaseAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        _seals = true;
        if (_identity is { } identity && identity.SealingLease >= _options.SealingLease)
        {
            return;
        }

        if (!store.IsTransient)
        {
            // Whoever was first raised the lease, and asked anew after that.
            await ConfirmForAllAsync(() => _identity is { } known && known.SealingLease >= _options.SealingLease, store, cancellationToken).ConfigureAwait(false);
        }
        else if ((await store.GetIdentityAsync(cancellationToken).ConfigureAwait(false)).SealingLease < _options.SealingLease)
        {
            // In the caller's transaction, with the values: both commit, or neither.
            await store.RaiseSealingLeaseAsync(_options.SealingLease, cancellationToken).ConfigureAwait(false);
        }
    }

    private static KeyUnavailableException TooSlow()
        => new("The keys of a save could not be confirmed within the sealing lease: the ring is too slow, or changes all the time. Retry.");

    /// <summary>The scope's sealing key, when it is held, its state is confirmed within the lease and its age is in bounds. No I/O.</summary>
    /// <remarks>The lease is looked at before the state, so that the state is at least as new as the confirmation.</remarks>
    private bool TryGetForSealing(string name, out RingKey key)
    {
        key = null!;
        return IsConfirmedForSealing && _sealing.TryGetValue(name, out key!) && MaySeal(key) && (key.Kek ?? key).Refusal is null && !IsRevalidationDue(key);
    }

    public static bool MaySeal(RingKey key) => KeyResolver.MaySeal(key.State) && (key.Kek is not { } kek || (KeyResolver.MaySealUnder(kek.State) && kek.IsAlive));

    private static bool MaySeal(Dictionary<string, RingKey> keys)
    {
        foreach (var key in keys.Values)
        {
            if (!MaySeal(key))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>A scope's field key or kek, pinned.</summary>
    private async ValueTask<RingKey> GetScopeKeyAsync(string scope, KeyPurpose purpose, IKeyRingStore store, TransientKeys transient, KeyPins pins, CancellationToken cancellationToken)
    {
        var name = SealingName(scope, purpose);
        while (true)
        {
            // In the caller's transaction nothing is taken on trust: a rollback, also to a savepoint, may have taken the row away.
            if (store.IsTransient || !TryGetForSealing(name, out var key))
            {
                key = store.UsesCallersConnection
                    ? await LoadSealingAsync(scope, purpose, store, transient, cancellationToken).ConfigureAwait(false)
                    : await SingleFlightAsync("seal " + name, store, own => LoadSealingAsync(scope, purpose, own, transient, CancellationToken.None), cancellationToken).ConfigureAwait(false);
            }

            if (pins.TryPin(key, out key))
            {
                return key;
            }
        }
    }

    private async Task<RingKey> LoadSealingAsync(string scope, KeyPurpose purpose, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        await DeclareLeaseAsync(store, cancellationToken).ConfigureAwait(false);
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var generation = Interlocked.Read(ref _generation);
            var versions = await ReadVersionsAsync(scope, purpose, identity, mac, store, cancellationToken).ConfigureAwait(false);
            if (KeyResolver.FindSealing(versions) is { } entry)
            {
                var key = await ObtainAsync(entry, identity, store, transient, cancellationToken).ConfigureAwait(false);
                if (TryKeep(key, entry.Revision, seals: true, generation, identity.Id, store, transient, out key))
                {
                    return key;
                }

                // Something changed since the row was read: it is read again, now without a call to the key service.
                continue;
            }

            if (await FindErasedAsync(versions, scope, purpose, identity, mac, store, cancellationToken).ConfigureAwait(false) is { } destroyed)
            {
                throw new KeyDestroyedException("Every key of the row's tenant or subject was destroyed: it is erased and takes no new values. Nothing was written.") { KeyId = destroyed.Id };
            }

            var next = versions.Count == 0 ? 1 : versions.Max(v => v.Version) + 1;
            var (made, material) = await GenerateAsync(identity, scope, purpose, next, cancellationToken).ConfigureAwait(false);
            var asked = _time.GetTimestamp();
            var isInserted = false;
            try
            {
                made = KeyMetadataMac.Sign(mac.Key, identity.Id, made);
                isInserted = await store.TryInsertAsync([made], cancellationToken).ConfigureAwait(false) > 0;
            }
            finally
            {
                if (!isInserted)
                {
                    material.Dispose();
                }
            }

            if (!isInserted)
            {
                // Another creator won, or the scope was erased: what is there is read on the next turn.
                continue;
            }

            _audit.KeyCreated(made.Id, KmsContext.PurposeName(purpose), made.Version);

            // One key service call for a new key: it was committed by the line above, so it may be held without being read again.
            if (TryKeep(new RingKey(made, material, null, asked), made.Revision, seals: true, generation, identity.Id, store, transient, out var kept))
            {
                return kept;
            }
        }

        throw new KeyUnavailableException("No active key could be had for a scope of the ring: others change it at the same time. Retry.");
    }

    /// <summary>The unwrapped key of a row that was read and verified: the held one, revalidated where that is due, or unwrapped by the key service.</summary>
    private async Task<RingKey> ObtainAsync(KeyRingEntry entry, RingIdentity identity, IKeyRingStore store, TransientKeys transient, CancellationToken cancellationToken)
    {
        if (_keys.TryGetValue(entry.Id, out var held) && held.IsAlive)
        {
            await RevalidateAsync(held, cancellationToken).ConfigureAwait(false);
            return held;
        }

        // A key of the caller's own never enters the shared cache: it ends with the caller.
        if (store.IsTransient && transient.TryGet(entry.Id, out held))
        {
            return held;
        }

        var asked = _time.GetTimestamp();
        return new RingKey(entry, await UnwrapAsync(entry, identity, cancellationToken).ConfigureAwait(false), null, asked);
    }

    /// <summary>
    /// Enters a key into the shared cache, or into the context's own where its row may yet be rolled back. False, with a key that was not held before zeroed, when the ring changed
    /// since the key's row was read: a state that another process changed meanwhile would otherwise be taken for confirmed.
    /// </summary>
    private bool TryKeep(RingKey key, int revision, bool seals, long generation, Guid ringId, IKeyRingStore store, TransientKeys transient, out RingKey kept)
    {
        kept = key;
        if (store.IsTransient)
        {
            if (!_keys.TryGetValue(key.Id, out var shared) || !ReferenceEquals(shared, key))
            {
                kept = transient.Add(key);
            }

            return true;
        }

        lock (_state)
        {
            var held = _keys.GetValueOrDefault(key.Id);
            if (generation != _generation || _identity?.Id != ringId)
            {
                if (!ReferenceEquals(held, key))
                {
                    key.Drop();
                }

                return false;
            }

            if (_witnessed.TryGetValue(key.Id, out var witnessed) && revision < witnessed)
            {
                // Genuine and read just now, but older than what this process has seen: somebody put a former row back.
                ForgetWithWrapped([key]);
                throw Tampered(key.Id, $"The ring's row of key {key.Id} is a former one that was put back. The key is not used. Find out who can write to the ring's table, and restore the row.");
            }

            if (held is { IsAlive: false })
            {
                Forget(held);
                held = null;
            }

            if (held is null)
            {
                _keys[key.Id] = key;
                Interlocked.Increment(ref _count);
                Telemetry.Hold(1);
                KeyRingRegistry.Add(key.Id, this);
            }
            else if (!ReferenceEquals(held, key))
            {
                held.Entry = held.Entry.Revision < key.Entry.Revision ? key.Entry : held.Entry;
                key.Drop();
                kept = held;
            }

            kept.LastUsed = Environment.TickCount64;
            if (seals)
            {
                _sealing[SealingName(kept.Scope, kept.Key.Purpose)] = kept;
            }
        }

        Evict(kept);
        return true;
    }
}
