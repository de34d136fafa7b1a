using System.Runtime.ExceptionServices;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Destruction after a waiting window, and erasure. Whether a cell still names the key is the caller's question; here stands what a key's state allows. A scheduled key neither seals nor opens: who still needs it is told while
/// it can be brought back.
/// </summary>
internal sealed partial class KeyRing
{
    /// <summary>Schedules a key, and what it wraps, for destruction; what it wraps first. A key that is scheduled already keeps its time.</summary>
    /// <exception cref="KeyRevokedException">The key still seals, or is destroyed.</exception>
    public async Task<ChangedEntries> ScheduleDestructionAsync(KeyRingEntry key, TimeSpan window, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        // The key's own state says no before anything under it is changed.
        var isWrapper = key.Purpose == KeyPurpose.Kek;
        Plan(key, Now());
        var scheduled = new ChangedEntries();
        if (isWrapper)
        {
            await ChangeRowKeysAsync(new RingFilter { KekIds = [key.Id] }, _ => true, isTolerant: false, Plan, scheduled.Add, store, cancellationToken).ConfigureAwait(false);
        }

        await ChangeAsync([key.Id], Plan, scheduled.Add, store, cancellationToken).ConfigureAwait(false);
        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return scheduled;

        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset now)
            => RetireWith(entry, isWrapper, KeyState.PendingDestruction, reason, by, now) is { } next
                ? next with { FormerState = Retired(entry, isWrapper).State, DestructionDueAt = now + window }
                : null;
    }

    /// <summary>A row key ends with its kek, also one that would still seal by itself.</summary>
    private static KeyRingEntry Retired(KeyRingEntry entry, bool withKek)
        => withKek && entry is { KekId: not null, State: KeyState.Active or KeyState.PreActive } ? entry with { State = KeyState.Deactivated } : entry;

    private static KeyRingEntry? RetireWith(KeyRingEntry entry, bool withKek, KeyState state, string? reason, string? by, DateTimeOffset now)
    {
        var retired = Retired(entry, withKek);
        return withKek && entry.KekId is not null && !KeyResolver.MayFollow(retired.State, state) ? null : Follow(retired, state, reason, by, now);
    }

    /// <summary>
    /// Brings a scheduled key, and what it wraps, back to its former state: never to one that seals. What it wraps is brought back too where the key itself is not scheduled (any more, or yet): a call that ended half-way, this
    /// one or the one that scheduled them, is finished by this.
    /// </summary>
    /// <exception cref="KeyRevokedException">Neither the key nor a row key under it is scheduled.</exception>
    public async Task CancelDestructionAsync(Guid id, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var key = await FindScopeKeyAsync(id, store, cancellationToken).ConfigureAwait(false);
        long cancelled = 0;
        await ChangeAsync([id], Plan, Note, store, cancellationToken).ConfigureAwait(false);

        // Under a destroyed kek they are gone with it; under one that seals none was scheduled but by itself, on purpose.
        if (key is { Purpose: KeyPurpose.Kek, State: not (KeyState.Destroyed or KeyState.Active or KeyState.PreActive) })
        {
            await ChangeRowKeysAsync(new RingFilter { KekIds = [id], State = KeyState.PendingDestruction }, _ => true, isTolerant: false, Plan, Note, store, cancellationToken).ConfigureAwait(false);
        }

        if (cancelled == 0)
        {
            throw new KeyRevokedException($"Key {id} is {key.State} and not scheduled for destruction. Nothing was changed.") { KeyId = id };
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);

        void Note(KeyRingEntry entry)
        {
            cancelled++;
            _audit.KeyDestructionCancelled(entry.Id);
        }

        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset now) => entry.State != KeyState.PendingDestruction ? null : entry with
        {
            State = entry.FormerState ?? KeyState.Revoked,
            FormerState = null,
            DestructionDueAt = null,
            Reason = reason ?? entry.Reason,
            ChangedBy = by ?? entry.ChangedBy,
            StateChangedAt = now,
        };
    }

    /// <summary>Destroys keys whose window is over; one that was cancelled or changed meanwhile is left as it is.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> DestroyDueAsync(IReadOnlyList<KeyRingEntry> keys, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var revisions = keys.ToDictionary(k => k.Id, k => k.Revision);
        var destroyed = new List<KeyRingEntry>();
        foreach (var chunk in keys.OrderBy(e => e.KekId is null ? 1 : 0).Select(e => e.Id).Chunk(ChangeChunk))
        {
            destroyed.AddRange(await ChangeAsync(
                chunk,
                (entry, now) => entry.Revision == revisions[entry.Id] && KeyResolver.IsDestructionDue(entry, now) ? Follow(entry, KeyState.Destroyed, null, null, now) : null,
                store,
                cancellationToken).ConfigureAwait(false));
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return destroyed;
    }

    /// <summary>
    /// Shows the scheduled row keys to <paramref name="which"/> and destroys those that it chooses and whose window is over, some hundred at a time; one that was cancelled or changed meanwhile is left as it is.
    /// </summary>
    /// <param name="which">Chooses among them.</param>
    /// <param name="destroyed">Told of those that were destroyed.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the call between two commits.</param>
    public async Task DestroyDueRowKeysAsync(Func<KeyRingEntry, bool> which, ChangedEntries destroyed, IKeyRingStore store, CancellationToken cancellationToken)
    {
        await ChangeRowKeysAsync(
            RingFilter.RowKeys with { State = KeyState.PendingDestruction }, which, isTolerant: false,
            (entry, now) => KeyResolver.IsDestructionDue(entry, now) ? Follow(entry, KeyState.Destroyed, null, null, now) : null, destroyed.Add, store, cancellationToken).ConfigureAwait(false);
        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Destroys what is left under destroyed keks, some hundred at a time: it opens nothing any more, whatever its own rows say. A row key travels with its row, in a transaction of the user's that an erasure does not wait for: it may be
    /// committed after it.
    /// </summary>
    public async Task<ChangedEntries> DestroyOrphansAsync(IReadOnlyCollection<Guid> keks, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var destroyed = new ChangedEntries();
        foreach (var chunk in keks.Chunk(RingFilter.MaxKeks))
        {
            await ChangeRowKeysAsync(
                new RingFilter { KekIds = chunk }, _ => true, isTolerant: false, (entry, now) => DestroyAtOnce(entry, "its kek was destroyed", null, now), destroyed.Add, store, cancellationToken).ConfigureAwait(false);
        }

        return destroyed;
    }

    /// <summary>Without the states that usually come before; null where it is destroyed already.</summary>
    private static KeyRingEntry? DestroyAtOnce(KeyRingEntry entry, string reason, string? by, DateTimeOffset now)
        => entry.State == KeyState.Destroyed ? null : Follow(entry.State == KeyState.Active ? entry with { State = KeyState.Deactivated } : entry, KeyState.Destroyed, reason, by, now);

    /// <summary>
    /// Erases a scope: destroys every key of it at once, whatever cells name them, and the row keys under its keks. Its keys are destroyed in one commit, so that no new version fills the gap.
    /// </summary>
    /// <exception cref="KeyRingTamperedException">The rest was destroyed; but rows of the ring are not genuine, and may be the scope's, whatever they say.</exception>
    public async Task<ChangedEntries> EraseAsync(string scope, string reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        ExceptionDispatchInfo? nothing = null;
        var erased = new ChangedEntries();
        try
        {
            erased = await DestroyScopeAsync(scope, reason, by, store, cancellationToken).ConfigureAwait(false);
        }
        catch (EnvelopeEncryptionException error) when (error is KeyNotFoundInRingException or KeyDestroyedException)
        {
            nothing = ExceptionDispatchInfo.Capture(error);
        }

        await RequireGenuineAsync(scope, erased.Count, store, cancellationToken).ConfigureAwait(false);
        nothing?.Throw();
        return erased;
    }

    /// <summary>
    /// A row that somebody changed opens nothing, and does again once the change is taken back: its wrapped key is there. It is not made a tombstone on its own word, which would let whoever writes to the table have any scope's key destroyed.
    /// Row keys are gone with their kek, whatever their rows say.
    /// </summary>
    private async Task RequireGenuineAsync(string scope, long destroyed, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, macKey) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        using var pins = new KeyPins();
        var mac = Hold(macKey, pins);
        var tampered = (await store.ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false)).Where(e => !IsGenuine(mac.Key, identity.Id, e)).ToList();
        if (tampered.Count > 0)
        {
            throw new KeyRingTamperedException(
                $"The erasure of scope '{scope}' is not complete: {destroyed} key(s) were destroyed by this call, but {KeyMetadataMac.Describe(tampered)} changed by somebody else than EfEnvelope, and may be keys of the scope, whatever they say ({tampered.Count(e => e.Scope == scope)} say so). They open nothing now, but would again if the change were taken back. Import an export of the ring that holds them, or delete them from the ring's table if nothing else needs them, and erase the scope again.")
            {
                KeyId = tampered[0].Id,
            };
        }
    }

    private async Task<ChangedEntries> DestroyScopeAsync(string scope, string reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var selection = KeySelection.WholeScope(scope);
        var erased = new ChangedEntries();
        for (var round = 0; round < MaxRounds; round++)
        {
            var found = await FindAsync(selection, store, cancellationToken).ConfigureAwait(false);
            var due = found.Covered.Concat(found.NotCovered).Where(e => e.State != KeyState.Destroyed).Select(e => e.Id).ToList();
            var isRowKeyDue = found.RowKeys.Any(k => k.State != KeyState.Destroyed);
            if (due.Count == 0 && !isRowKeyDue)
            {
                if (erased.Count == 0)
                {
                    throw new KeyDestroyedException($"Scope '{scope}' is erased already. Nothing was changed.");
                }

                break;
            }

            foreach (var chunk in due.Chunk(ChangeChunk))
            {
                await ChangeAsync(chunk, Plan, erased.Add, store, cancellationToken).ConfigureAwait(false);
            }

            if (isRowKeyDue)
            {
                await ChangeRowKeysAsync(found.Meaning.RowKeys!.Value, found.Meaning.CoversRowKey, isTolerant: true, Plan, erased.Add, store, cancellationToken).ConfigureAwait(false);
            }
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return erased;

        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset now) => DestroyAtOnce(entry, reason, by, now);
    }
}
