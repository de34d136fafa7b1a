using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Destruction after a waiting window, and erasure. Whether a cell still names the key is the caller's question; here stands what a key's state allows. A scheduled key neither seals nor opens: who still needs it is told while
/// it can be brought back.
/// </summary>
internal sealed partial class KeyRing
{
    /// <summary>Schedules a key, and what it wraps, for destruction. A key that is scheduled already keeps its time.</summary>
    /// <exception cref="KeyRevokedException">The key still seals, or is destroyed.</exception>
    public async Task<IReadOnlyList<KeyRingEntry>> ScheduleDestructionAsync(
        IReadOnlyList<KeyRingEntry> keys, TimeSpan window, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        // The key's own state says no before anything under it is changed.
        var isWrapper = keys.Any(k => k.Purpose == KeyPurpose.Kek);
        foreach (var key in keys.Where(k => k.KekId is null))
        {
            Plan(key, Now());
        }

        var scheduled = new List<KeyRingEntry>();
        foreach (var chunk in keys.OrderBy(e => e.KekId is null ? 1 : 0).Select(e => e.Id).Chunk(ChangeChunk))
        {
            scheduled.AddRange(await ChangeAsync(chunk, Plan, store, cancellationToken).ConfigureAwait(false));
        }

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

    /// <summary>Brings a scheduled key, and what it wraps, back to its former state: never to one that seals.</summary>
    /// <exception cref="KeyRevokedException">The key is not scheduled.</exception>
    public async Task<IReadOnlyList<KeyRingEntry>> CancelDestructionAsync(Guid id, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var keys = await FindWithWrappedAsync(id, store, cancellationToken).ConfigureAwait(false);
        if (keys[0].State != KeyState.PendingDestruction)
        {
            throw new KeyRevokedException($"Key {id} is {keys[0].State} and not scheduled for destruction. Nothing was changed.") { KeyId = id };
        }

        var cancelled = new List<KeyRingEntry>();
        foreach (var chunk in keys.Select(e => e.Id).Chunk(ChangeChunk))
        {
            cancelled.AddRange(await ChangeAsync(chunk, Plan, store, cancellationToken).ConfigureAwait(false));
        }

        foreach (var entry in cancelled)
        {
            _audit.KeyDestructionCancelled(entry.Id);
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return cancelled;

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
    /// Erases a scope: destroys every key of it at once, whatever cells name them, and the row keys under its keks. Its keys are destroyed in one commit, so that no new version fills the gap.
    /// </summary>
    public async Task<IReadOnlyList<KeyRingEntry>> EraseAsync(string scope, string reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var selection = KeySelection.WholeScope(scope);
        var erased = new List<KeyRingEntry>();
        for (var round = 0; round < MaxRounds; round++)
        {
            var found = await FindAsync(selection, store, cancellationToken).ConfigureAwait(false);
            var due = found.Covered.Concat(found.NotCovered).Where(e => e.State != KeyState.Destroyed).ToList();
            if (due.Count == 0)
            {
                if (erased.Count == 0)
                {
                    throw new KeyDestroyedException($"Scope '{scope}' is erased already. Nothing was changed.");
                }

                break;
            }

            foreach (var chunk in due.OrderBy(e => e.KekId is null ? 0 : 1).Select(e => e.Id).Chunk(ChangeChunk))
            {
                erased.AddRange(await ChangeAsync(chunk, Plan, store, cancellationToken).ConfigureAwait(false));
            }
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return erased;

        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset now)
            => entry.State == KeyState.Destroyed ? null : Follow(entry.State == KeyState.Active ? entry with { State = KeyState.Deactivated } : entry, KeyState.Destroyed, reason, by, now);
    }
}
