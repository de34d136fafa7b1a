using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>The ring's decisions, as pure functions of what is known and when.</summary>
internal static class KeyResolver
{
    /// <summary>
    /// How far an import raises the revision of a row that the ring had lost: above any that a running process can have seen of it, which would take it for a former row that somebody put back. What is left of a revision without these
    /// are the row's own changes.
    /// </summary>
    public const int RestoredRevisions = 1_000_000;

    /// <summary>The version that seals: the newest that is Active; null where there is none.</summary>
    public static KeyRingEntry? FindSealing(IEnumerable<KeyRingEntry> versions)
    {
        KeyRingEntry? newest = null;
        foreach (var entry in versions)
        {
            if (entry.State == KeyState.Active && (newest is null || entry.Version > newest.Version))
            {
                newest = entry;
            }
        }

        return newest;
    }

    /// <summary>Whether a scope had keys and every one was destroyed: it gets no new one.</summary>
    public static bool IsErased(IReadOnlyCollection<KeyRingEntry> versions) => versions.Count > 0 && versions.All(v => v.State == KeyState.Destroyed);

    public static bool MaySeal(KeyState state) => state == KeyState.Active;

    /// <summary>
    /// Whether row keys under a kek may seal: a kek that was rotated or compromised takes what it wraps with it, whatever the row keys' own rows say yet. So the lease that follows its retirement is all that a cut-off has to wait for.
    /// </summary>
    public static bool MaySealUnder(KeyState kek) => kek == KeyState.Active;

    /// <summary>Compromised keys open until their rows are re-encrypted.</summary>
    public static bool MayOpen(KeyState state) => state is KeyState.PreActive or KeyState.Active or KeyState.Deactivated or KeyState.Compromised;

    /// <summary>
    /// Whether what was confirmed a while ago still holds for sealing. The monotonic clock decides; but it stands still while the machine does, so that a lease ends by the wall clock too. One that was set back lengthens nothing; one that was set
    /// ahead has the ring asked again.
    /// </summary>
    /// <param name="sinceConfirmed">By the monotonic clock.</param>
    /// <param name="byWallClock">The same by the wall clock.</param>
    /// <param name="lease">The lease.</param>
    public static bool IsLeaseValid(TimeSpan sinceConfirmed, TimeSpan byWallClock, TimeSpan lease) => sinceConfirmed >= TimeSpan.Zero && sinceConfirmed <= lease && byWallClock <= lease;

    /// <summary>Refreshing starts at half the lease, so that a busy process never waits for it.</summary>
    public static bool IsRefreshDue(TimeSpan sinceConfirmed, TimeSpan lease) => sinceConfirmed > lease / 2;

    public static bool IsRevalidationDue(TimeSpan age, KeyRingOptions options) => age > RevalidationInterval(options);

    /// <summary>The key service is asked in the background when three quarters of the interval are over.</summary>
    public static bool IsRevalidationNear(TimeSpan age, KeyRingOptions options) => age > RevalidationInterval(options) * 0.75;

    /// <summary>A key that may not grow older than the interval is asked about by its greatest age: only who asks learns that it is too old.</summary>
    private static TimeSpan RevalidationInterval(KeyRingOptions options) => options.MaximumKeyAge < options.KeyRevalidationInterval ? options.MaximumKeyAge : options.KeyRevalidationInterval;

    public static bool IsTooOld(TimeSpan age, KeyRingOptions options) => age > options.MaximumKeyAge;

    /// <summary>Whether a state may follow another: never back to sealing, never back from destroyed.</summary>
    public static bool MayFollow(KeyState from, KeyState to) => (from, to) switch
    {
        (KeyState.PreActive, KeyState.Active or KeyState.Compromised or KeyState.PendingDestruction or KeyState.Destroyed) => true,
        (KeyState.Active, KeyState.Deactivated or KeyState.Compromised) => true,
        (KeyState.Deactivated, KeyState.Compromised or KeyState.Revoked or KeyState.PendingDestruction or KeyState.Destroyed) => true,
        (KeyState.Compromised, KeyState.Revoked or KeyState.PendingDestruction or KeyState.Destroyed) => true,
        (KeyState.Revoked, KeyState.Compromised or KeyState.PendingDestruction or KeyState.Destroyed) => true,
        (KeyState.PendingDestruction, KeyState.Destroyed) => true,
        _ => false,
    };

    /// <summary>
    /// What a key becomes when it is reported compromised; null where it stays as it is. A scheduled destruction goes on, and cancelling it no longer brings back a key that is trusted.
    /// </summary>
    public static KeyRingEntry? Compromise(KeyRingEntry entry, string reason, string? by, DateTimeOffset now) => entry.State switch
    {
        KeyState.PreActive or KeyState.Active or KeyState.Deactivated => entry with
        {
            State = KeyState.Compromised, Reason = reason, ChangedBy = by, StateChangedAt = now, CompromisedAt = entry.CompromisedAt ?? now,
        },
        KeyState.PendingDestruction when entry.FormerState is KeyState.PreActive or KeyState.Deactivated => entry with
        {
            FormerState = KeyState.Compromised, Reason = reason, ChangedBy = by, CompromisedAt = entry.CompromisedAt ?? now,
        },
        _ => null,
    };

    /// <summary>Whether the waiting window of a scheduled destruction is over.</summary>
    public static bool IsDestructionDue(KeyRingEntry entry, DateTimeOffset now) => entry is { State: KeyState.PendingDestruction, DestructionDueAt: { } due } && due <= now;

    /// <summary>
    /// What an import makes of a row that is there: the stricter state of the two, and the newer wrapping. A row that was tampered with is replaced by the document's, but no longer seals: what happened to it since
    /// the export is not known. That it was reported compromised is believed. Null where nothing changes.
    /// </summary>
    public static KeyRingEntry? Merge(KeyRingEntry held, bool isGenuine, KeyRingEntry exported, DateTimeOffset now)
    {
        if (!isGenuine)
        {
            var trusted = LastingState(exported);
            // The mac key is the one that the document is authenticated with: without it the ring would be closed.
            var least = trusted is KeyState.PreActive or KeyState.Active && exported.Purpose != KeyPurpose.Mac ? KeyState.Deactivated : trusted;
            return IsUndecided(held, exported) ? null : exported with
            {
                State = held.State == KeyState.Compromised && Strictness(least) < Strictness(KeyState.Compromised) ? KeyState.Compromised : least,
                StateChangedAt = now,
                DestructionDueAt = null,
                FormerState = null,
                Revision = held.Revision + 1,
            };
        }

        // A scheduled destruction is a plan for one database, no knowledge about the key: it is neither imported, nor ended by an import.
        var isStricter = Strictness(LastingState(exported)) > Strictness(LastingState(held));
        var isRewrapped = exported.Revision % RestoredRevisions > held.Revision % RestoredRevisions && held.State != KeyState.Destroyed && !exported.Wrapped.AsSpan().SequenceEqual(held.Wrapped);
        if (!isStricter && !isRewrapped)
        {
            return null;
        }

        var wrapping = exported.State == KeyState.Destroyed || isRewrapped ? exported : held;
        var state = isStricter ? exported : held;
        var isPending = held.State == KeyState.PendingDestruction && exported.State != KeyState.Destroyed;

        // Here the state changes now, whenever it did elsewhere: until now processes of this ring sealed with the key.
        return held with
        {
            State = isPending ? held.State : LastingState(state),
            FormerState = isPending ? LastingState(state) : null,
            DestructionDueAt = isPending ? held.DestructionDueAt : null,
            StateChangedAt = isPending || !isStricter ? held.StateChangedAt : now,
            ChangedBy = state.ChangedBy,
            CompromisedAt = held.CompromisedAt ?? exported.CompromisedAt,
            ActivatedAt = held.ActivatedAt ?? exported.ActivatedAt,
            Reason = state.Reason,
            Wrapped = wrapping.Wrapped,
            RootKeyId = wrapping.RootKeyId,
            KeyMaterialId = wrapping.KeyMaterialId,
            Revision = held.Revision + 1,
        };
    }

    /// <summary>
    /// Whether a row that was tampered with claims an end that the document knows nothing of. Signed, a forged end could never be taken back, and the key would be lost; passed over, a true one would be: the row stays as it is, and opens
    /// nothing, until somebody decides.
    /// </summary>
    public static bool IsUndecided(KeyRingEntry held, KeyRingEntry exported)
        => held.State is KeyState.PendingDestruction or KeyState.Revoked or KeyState.Destroyed && Strictness(LastingState(exported)) < Strictness(KeyState.Revoked);

    /// <summary>A key's state without a destruction that is only planned.</summary>
    private static KeyState LastingState(KeyRingEntry entry) => entry.State == KeyState.PendingDestruction ? entry.FormerState ?? KeyState.Revoked : entry.State;

    /// <summary>States only ever become stricter.</summary>
    public static int Strictness(KeyState state) => state switch
    {
        KeyState.PreActive => 0,
        KeyState.Active => 1,
        KeyState.Deactivated => 2,
        KeyState.Compromised => 3,
        KeyState.Revoked => 4,
        _ => 5,
    };

    /// <summary>Values are sealed with data keys only: one that names a key of another purpose was forged or damaged.</summary>
    public static EnvelopeRefusedException NoDataKey(Guid id)
        => new($"A value names key {id}, which is no data key but wraps others, or serves the ring itself: it was forged or damaged. It is not returned; the stored value is untouched.") { KeyId = id };

    /// <summary>The typed error of a key that may not be opened with.</summary>
    public static EnvelopeEncryptionException OpeningError(Guid id, KeyRingEntry? entry) => entry?.State switch
    {
        null => new KeyNotFoundInRingException(
            $"The key ring holds no key {id}: the value is foreign or damaged, or the ring was restored from before the key was made. Import the ring's export, or restore its table.") { KeyId = id },
        KeyState.PendingDestruction => new KeyRevokedException(
            $"Key {id} is scheduled for destruction{(entry.DestructionDueAt is { } due ? $" on {due:u}" : "")} and opens nothing. If the value is still needed, cancel the destruction (`cancel-destruction --key {id}`), then re-encrypt its rows.") { KeyId = id },
        KeyState.Destroyed => new KeyDestroyedException($"Key {id} was destroyed: what it sealed is erased and cannot be read again.") { KeyId = id },
        KeyState.Revoked => new KeyRevokedException($"Key {id} was compromised and is revoked: it no longer opens. Every row was re-encrypted; a value that still names it is an old copy.") { KeyId = id },
        _ => new KeyUnavailableException($"Key {id} is not loaded. Retry.") { KeyId = id },
    };
}
