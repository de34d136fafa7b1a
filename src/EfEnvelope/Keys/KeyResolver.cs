namespace EfEnvelope.Keys;

/// <summary>The ring's decisions, as pure functions of what is known and when.</summary>
internal static class KeyResolver
{
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

    public static bool MaySeal(KeyState state) => state == KeyState.Active;

    /// <summary>Compromised keys open until their rows are re-encrypted.</summary>
    public static bool MayOpen(KeyState state) => state is KeyState.PreActive or KeyState.Active or KeyState.Deactivated or KeyState.Compromised;

    /// <summary>Whether what was confirmed a while ago still holds for sealing.</summary>
    public static bool IsLeaseValid(TimeSpan sinceConfirmed, TimeSpan lease) => sinceConfirmed >= TimeSpan.Zero && sinceConfirmed <= lease;

    /// <summary>Refreshing starts at half the lease, so that a busy process never waits for it.</summary>
    public static bool IsRefreshDue(TimeSpan sinceConfirmed, TimeSpan lease) => sinceConfirmed > lease / 2;

    public static bool IsRevalidationDue(TimeSpan age, KeyRingOptions options) => age > options.KeyRevalidationInterval;

    /// <summary>The key service is asked in the background when three quarters of the interval are over.</summary>
    public static bool IsRevalidationNear(TimeSpan age, KeyRingOptions options) => age > options.KeyRevalidationInterval * 0.75;

    public static bool IsTooOld(TimeSpan age, KeyRingOptions options) => age > options.MaximumKeyAge;

    /// <summary>Whether a state may follow another: never back to sealing, never back from destroyed.</summary>
    public static bool MayFollow(KeyState from, KeyState to) => (from, to) switch
    {
        (KeyState.PreActive, KeyState.Active or KeyState.Compromised or KeyState.Destroyed) => true,
        (KeyState.Active, KeyState.Deactivated or KeyState.Compromised) => true,
        (KeyState.Deactivated, KeyState.Compromised or KeyState.Revoked or KeyState.Destroyed) => true,
        (KeyState.Compromised, KeyState.Revoked or KeyState.Destroyed) => true,
        (KeyState.Revoked, KeyState.Compromised or KeyState.Destroyed) => true,
        _ => false,
    };

    /// <summary>
    /// What an import makes of a row that is there: the stricter state of the two, and the newer wrapping. A row that was tampered with is replaced by the document's, but no longer seals: what happened to it since
    /// the export is not known; a stricter state that it claims is believed. Null where nothing changes.
    /// </summary>
    public static KeyRingEntry? Merge(KeyRingEntry held, bool isGenuine, KeyRingEntry exported, DateTimeOffset now)
    {
        if (!isGenuine)
        {
            var least = exported.State is KeyState.PreActive or KeyState.Active ? KeyState.Deactivated : exported.State;
            var claimed = Enum.IsDefined(held.State) && Strictness(held.State) > Strictness(least) ? held.State : least;
            return exported with
            {
                State = claimed,
                Wrapped = claimed == KeyState.Destroyed ? [] : exported.Wrapped,
                StateChangedAt = now,
                Revision = held.Revision + 1,
            };
        }

        var isStricter = Strictness(exported.State) > Strictness(held.State);
        var isRewrapped = exported.Revision > held.Revision && held.State != KeyState.Destroyed && !exported.Wrapped.AsSpan().SequenceEqual(held.Wrapped);
        if (!isStricter && !isRewrapped)
        {
            return null;
        }

        var wrapping = exported.State == KeyState.Destroyed || isRewrapped ? exported : held;
        var state = isStricter ? exported : held;
        return held with
        {
            State = state.State,
            StateChangedAt = state.StateChangedAt,
            ActivatedAt = held.ActivatedAt ?? exported.ActivatedAt,
            Reason = state.Reason,
            Wrapped = wrapping.Wrapped,
            RootKeyId = wrapping.RootKeyId,
            KeyMaterialId = wrapping.KeyMaterialId,
            Revision = held.Revision + 1,
        };
    }

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

    /// <summary>The typed error of a key that may not be opened with.</summary>
    public static EnvelopeEncryptionException OpeningError(Guid id, KeyRingEntry? entry) => entry?.State switch
    {
        null => new KeyNotFoundInRingException(
            $"The key ring holds no key {id}: the value is foreign or damaged, or the ring was restored from before the key was made. Import the ring's export, or restore its table.") { KeyId = id },
        KeyState.Destroyed => new KeyDestroyedException($"Key {id} was destroyed: what it sealed is erased and cannot be read again.") { KeyId = id },
        KeyState.Revoked => new KeyRevokedException($"Key {id} was compromised and is revoked: it no longer opens. Every row was re-encrypted; a value that still names it is an old copy.") { KeyId = id },
        _ => new KeyUnavailableException($"Key {id} is not loaded. Retry.") { KeyId = id },
    };
}
