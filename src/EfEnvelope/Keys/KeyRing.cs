using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.ExceptionServices;
using EfEnvelope.Cryptography;
using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;
using EfEnvelope.KeyManagement;
using Microsoft.Extensions.Logging.Abstractions;

namespace EfEnvelope.Keys;

/// <summary>
/// One ring in this process: the cache of its keys, the sealing lease, and every change of a key's state. Thread safe. The cache holds only keys that
/// were read from committed rows. One query of the ring's epoch confirms everything that is held; see <see cref="KeyResolver"/> for the rules.
/// </summary>
internal sealed partial class KeyRing
{
    private static readonly TimeSpan UnknownMemory = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan IdleAfter = TimeSpan.FromHours(1);

    private readonly IKeyManagementService _kms;
    private readonly KeyRingOptions _options;
    private readonly IReadOnlyDictionary<string, string> _fixedContext;
    private readonly TimeProvider _time;
    private readonly AeadBackend _backend;

    private readonly ConcurrentDictionary<Guid, RingKey> _keys = new();
    private readonly ConcurrentDictionary<string, RingKey> _sealing = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Guid, Unopenable> _unopenable = new();
    private readonly ConcurrentDictionary<string, Lazy<Task<RingKey>>> _flights = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Guid, int> _witnessed = new();
    private readonly SemaphoreSlim _refreshing = new(1, 1);

    /// <summary>Guards what is entered against what is changed: a key enters the cache only if nothing changed since its row was read.</summary>
    private readonly Lock _state = new();

    private volatile RingIdentity? _identity;
    private volatile RingKey? _macKey;
    private volatile ExceptionDispatchInfo? _confirmationFailure;
    private volatile Confirmation _confirmed = Confirmation.Never;
    private volatile Confirmation _confirmedByPrimary = Confirmation.Never;
    private long _answeredAt;
    private long _outageUntil;
    private long _serviceAwayUntil;
    private TimeSpan _servicePause;
    private long _generation;
    private long _invalidations;
    private long _outdated;
    private long _outdatedEpoch;
    private volatile bool _seals;
    private int _count;
    private int _evictAbove;
    private int _refreshRunning;

    public KeyRing(IKeyManagementService kms, KeyRingOptions options, IReadOnlyDictionary<string, string> fixedContext, TimeProvider time, EnvelopeAudit? audit = null)
    {
        _kms = kms;
        _options = options;
        _fixedContext = fixedContext;
        _time = time;
        _audit = audit ?? new EnvelopeAudit(NullLoggerFactory.Instance);
        _backend = CipherBackends.Select(options.Cipher, options.RequireFips);
        _evictAbove = options.MaxCachedKeys;
        Alone = [this];
    }

    public KeyRingOptions Options => _options;

    public TimeProvider Time => _time;

    /// <summary>Raised with every change that this process learns of.</summary>
    public long Generation => Interlocked.Read(ref _generation);

    /// <summary>The ring's UUID; null before its first use.</summary>
    public Guid? Id => _identity?.Id;

    /// <summary>What was found true of the ring's database holds as long as this is the same: the ring's UUID, its epoch as it was confirmed last, and how often everything was dropped. Null before first use.</summary>
    public (Guid Id, long Epoch, long Invalidations)? Stamp
    {
        get
        {
            lock (_state)
            {
                return _identity is { } identity ? (identity.Id, identity.Epoch, _invalidations) : null;
            }
        }
    }

    /// <summary>This ring as the only holder of a key, for the registry: keys are many, and most have one.</summary>
    public ImmutableArray<KeyRing> Alone { get; }

    /// <summary>Number of keys held.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether every held state was confirmed within the lease, perhaps by a standby.</summary>
    private bool IsConfirmed => _identity is not null && IsFresh(_confirmed);

    /// <summary>Whether it was by a primary: what a standby says may be older than a key's end.</summary>
    private bool IsConfirmedForSealing => _identity is not null && IsFresh(_confirmedByPrimary);

    /// <summary>When the ring's state was last confirmed for those who seal.</summary>
    public Confirmation Confirmed => _confirmedByPrimary;

    /// <summary>How long ago the ring answered, by the monotonic clock: for the age that held keys may serve on to. That what it said is outdated ends the lease, and makes no key older.</summary>
    private TimeSpan SinceAnswered => _time.GetElapsedTime(Interlocked.Read(ref _answeredAt));

    /// <summary>Whether nobody has used it for an hour.</summary>
    public bool IsIdle => SinceAnswered > IdleAfter && _keys.Values.All(k => Environment.TickCount64 - k.LastUsed > IdleAfter.TotalMilliseconds);

    /// <summary>This ring's epoch was seen by another cache of this process: what is held here is confirmed no longer.</summary>
    public void Outdate(Guid id, long epoch)
    {
        lock (_state)
        {
            if (_identity is { } identity && identity.Id == id && identity.Epoch < epoch)
            {
                (_confirmed, _confirmedByPrimary) = (Confirmation.Never, Confirmation.Never);
                _outdated++;
                _outdatedEpoch = Math.Max(_outdatedEpoch, epoch);
            }
        }
    }

    /// <summary>Drops every key and forgets the ring's identity: the database was dropped, recreated or restored.</summary>
    public void Invalidate()
    {
        lock (_state)
        {
            _generation++;
            _invalidations++;
            _sealing.Clear();
            _unopenable.Clear();
            _witnessed.Clear();
            _macKey?.Drop();
            _macKey = null;
            _identity = null;
            foreach (var key in _keys.Values)
            {
                Forget(key);
            }
        }
    }

    /// <summary>Confirms all held states now: reads the ring's epoch, and what changed since. For those who change keys or prove something: nobody else's failure ends what they committed, and theirs is nobody else's.</summary>
    public Task<RingIdentity> ConfirmAsync(IKeyRingStore store, CancellationToken cancellationToken) => ConfirmInTurnAsync(isEnough: null, isShared: false, store, cancellationToken);

    /// <summary>The same for those who save and open, many at a time.</summary>
    private Task<RingIdentity> ConfirmForAllAsync(Func<bool>? isEnough, IKeyRingStore store, CancellationToken cancellationToken)
        => ConfirmInTurnAsync(isEnough, isShared: !store.UsesCallersConnection, store, cancellationToken);

    /// <summary>Confirms all held states for sealing where that was last done longer than half a lease ago.</summary>
    public Task RefreshAsync(IKeyRingStore store, CancellationToken cancellationToken) => ConfirmForSealingAsync(() => IsConfirmedForSealing && !IsRefreshDue(_confirmedByPrimary), store, cancellationToken);

    /// <summary>The ring's identity, read on first use.</summary>
    private async ValueTask<RingIdentity> GetIdentityAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (_identity is { } known)
        {
            return known;
        }

        // In the caller's transaction the ring's own row may have been made just now, and go with it: it is not remembered.
        return store.IsTransient ? await store.GetIdentityAsync(cancellationToken).ConfigureAwait(false) : await ConfirmForAllAsync(static () => true, store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Confirms all held states for sealing where that was last done longer than a lease ago.</summary>
    public async ValueTask EnsureConfirmedForSealingAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (IsConfirmedForSealing || (store.IsTransient && _identity is null))
        {
            return;
        }

        await ConfirmForSealingAsync(() => IsConfirmedForSealing, store, cancellationToken).ConfigureAwait(false);
    }

    private async Task ConfirmForSealingAsync(Func<bool> isEnough, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if ((await ConfirmForAllAsync(isEnough, store, cancellationToken).ConfigureAwait(false)).IsStandby && !isEnough())
        {
            throw OfStandby();
        }
    }

    /// <summary>Confirms all held states, for opening, where that was last done longer than a lease ago.</summary>
    public async ValueTask EnsureConfirmedAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (IsConfirmed || (store.IsTransient && _identity is null))
        {
            return;
        }

        await ConfirmForAllAsync(() => IsConfirmed, store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// One confirmation at a time. Who waits for its turn while one finds the ring out of reach shares that failure: each would else wait for time-outs of its own, one behind the other. What the database answered to one is not shared:
    /// another's role may be allowed more, and on the caller's connection the lock that stood in the way may be the caller's own.
    /// </summary>
    private async Task<RingIdentity> ConfirmInTurnAsync(Func<bool>? isEnough, bool isShared, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (store.IsTransient)
        {
            // Confirms nothing for others, and may hold SQLite's write lock, which one that has its turn may wait for.
            return _identity is { } held && isEnough?.Invoke() == true ? held : await ConfirmCoreAsync(store, cancellationToken).ConfigureAwait(false);
        }

        var known = _confirmationFailure;
        await _refreshing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_identity is { } identity && isEnough?.Invoke() == true)
            {
                return identity;
            }

            if (isShared && _confirmationFailure is { } failure && !ReferenceEquals(failure, known))
            {
                failure.Throw();
            }

            try
            {
                var confirmed = await ConfirmCoreAsync(store, cancellationToken).ConfigureAwait(false);
                _confirmationFailure = null;
                return confirmed;
            }
            catch (KeyUnavailableException error) when (isShared && error.IsRingOutOfReach)
            {
                _confirmationFailure = ExceptionDispatchInfo.Capture(error);
                throw;
            }
        }
        finally
        {
            _refreshing.Release();
        }
    }

    private static async Task<RingIdentity> AskRingAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        var reached = false;
        try
        {
            var identity = await store.GetIdentityAsync(cancellationToken).ConfigureAwait(false);
            reached = true;
            return identity;
        }
        finally
        {
            Telemetry.Confirmed(reached);
        }
    }

    private void Forget(RingKey key)
    {
        _sealing.TryRemove(new KeyValuePair<string, RingKey>(SealingName(key.Scope, key.Key.Purpose), key));
        if (_keys.TryRemove(new KeyValuePair<Guid, RingKey>(key.Id, key)))
        {
            Interlocked.Decrement(ref _count);
            Telemetry.Hold(-1);
            KeyRingRegistry.Remove(key.Id, this);
        }

        key.Drop();
    }

    /// <summary>A kek takes what was unwrapped by it with it, at which nobody would look again: the next use asks the ring.</summary>
    private void ForgetWithWrapped(IReadOnlyCollection<RingKey> keys)
    {
        var keks = keys.Where(k => k.Key.Purpose == KeyPurpose.Kek).ToHashSet();
        if (keks.Count > 0)
        {
            foreach (var wrapped in _keys.Values.Where(k => k.Kek is { } kek && keks.Contains(kek)).ToList())
            {
                Forget(wrapped);
            }
        }

        foreach (var key in keys)
        {
            Forget(key);
        }
    }

    private static string SealingName(string scope, KeyPurpose purpose) => purpose == KeyPurpose.Kek ? "kek " + scope : scope;

    /// <summary>
    /// One call in flight per name. A caller that gives up does not cancel it for the others, so it works with a store that outlives its caller. A caller whose context is gone learns that alone.
    /// </summary>
    private Task<RingKey> SingleFlightAsync(string name, IKeyRingStore store, Func<IKeyRingStore, Task<RingKey>> call, CancellationToken cancellationToken)
    {
        if (_flights.TryGetValue(name, out var flight))
        {
            return flight.Value.WaitAsync(cancellationToken);
        }

        var own = store.Detach();
        return SingleFlightAsync(name, () => Task.Run(() => call(own)), cancellationToken);
    }

    private Task<RingKey> SingleFlightAsync(string name, Func<Task<RingKey>> call, CancellationToken cancellationToken)
        => _flights.GetOrAdd(name, _ => new Lazy<Task<RingKey>>(() => FlyAsync(name, call))).Value.WaitAsync(cancellationToken);

    /// <summary>The flight ends its own entry, whoever still waits for it: nobody later gets what it found, or why it failed.</summary>
    private async Task<RingKey> FlyAsync(string name, Func<Task<RingKey>> call)
    {
        try
        {
            return await call().ConfigureAwait(false);
        }
        finally
        {
            _flights.TryRemove(name, out _);
        }
    }

    /// <summary>UTC, to the microsecond: what every provider stores and gives back unchanged.</summary>
    private DateTimeOffset Now()
    {
        var now = _time.GetUtcNow();
        return new DateTimeOffset(now.UtcTicks - (now.UtcTicks % 10), TimeSpan.Zero);
    }

    /// <summary>
    /// Makes room by the least recently used keys that nobody works with. Where all are pinned, the next attempt waits until a tenth more have come: an attempt looks at every key.
    /// </summary>
    /// <param name="entered">The key that was entered just now, and whose user has yet to pin it.</param>
    private void Evict(RingKey entered)
    {
        if (Count <= Volatile.Read(ref _evictAbove))
        {
            return;
        }

        lock (_state)
        {
            var surplus = Count - (_options.MaxCachedKeys * 9 / 10);
            foreach (var key in _keys.Values.Where(k => !k.IsPinned && !ReferenceEquals(k, entered)).OrderBy(k => k.LastUsed).Take(Math.Max(surplus, 0)).ToList())
            {
                if (key.TryRetire())
                {
                    Forget(key);
                }
            }

            Volatile.Write(ref _evictAbove, Math.Max(_options.MaxCachedKeys, Count + (_options.MaxCachedKeys / 10)));
        }
    }

    private sealed record Unopenable(EnvelopeEncryptionException Error, long At, bool Permanent);
}
