using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Lifecycle;
using EfEnvelope.Reencryption;

namespace EfEnvelope;

/// <summary>The end of a key: a waiting window that can be cancelled, then destruction; or the erasure of a scope.</summary>
public sealed partial class EnvelopeKeys
{
    /// <summary>The waiting window of <see cref="DestroyAsync"/> where none is named: 30 days, as the key service's own.</summary>
    public static readonly TimeSpan DefaultDestructionWindow = TimeSpan.FromDays(30);

    /// <summary>The shortest window: 7 days.</summary>
    public static readonly TimeSpan MinimumDestructionWindow = TimeSpan.FromDays(7);

    /// <summary>The longest window: 365 days.</summary>
    public static readonly TimeSpan MaximumDestructionWindow = TimeSpan.FromDays(365);

    /// <summary>
    /// Schedules a key, and the row keys under it, for destruction: it neither seals nor opens from now on, and <see cref="CancelDestructionAsync"/> brings it back until its wrapped form is gone. Refused while one cell names
    /// it. After the window <see cref="DestroyDueAsync"/> counts again and destroys it.
    /// </summary>
    /// <param name="keyId">The key: deactivated, compromised or revoked.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="window">How long it can be brought back: 7 to 365 days, default 30 days. It must cover the age of the backups that may come back.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>The key, with <see cref="KeyInfo.DestructionDueAt"/>.</returns>
    /// <exception cref="KeyInUseException">The census still counts cells that name it, the ring serves other databases that it does not count (<see cref="EnvelopeCensus.OtherDatabases"/>), lists columns that are not found (<see cref="EnvelopeCensus.MissingColumns"/>), or the cut-off is not reached. The key is kept as it is; row keys under it may seal no more. Call again when the message is seen to.</exception>
    /// <exception cref="KeyRevokedException">Its state does not allow it. Nothing was changed.</exception>
    /// <exception cref="KeyDestroyedException">It is destroyed already.</exception>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no such key.</exception>
    /// <exception cref="EnvelopeConfigurationException">The window is out of range, or the key neither seals values nor wraps row keys.</exception>
    public async Task<KeyInfo> DestroyAsync(Guid keyId, string? reason = null, TimeSpan? window = null, CancellationToken cancellationToken = default)
    {
        var waits = window ?? DefaultDestructionWindow;
        if (waits < MinimumDestructionWindow || waits > MaximumDestructionWindow)
        {
            throw new EnvelopeConfigurationException(
                $"The waiting window of a destruction is {MinimumDestructionWindow.TotalDays:0} to {MaximumDestructionWindow.TotalDays:0} days; {waits.TotalDays:0.##} days were asked for. Nothing was changed.") { KeyId = keyId };
        }

        var key = await _session.Ring.FindScopeKeyAsync(keyId, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        RequireNext(key, KeyState.PendingDestruction);
        key = await RequireUnusedAsync(key, cancellationToken).ConfigureAwait(false);
        await _session.Ring.ScheduleDestructionAsync(key, waits, reason, Environment.UserName, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        return await ReadAsync(keyId, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Cancels a scheduled destruction: the key, and the row keys under it, are what they were before, or compromised where that was reported meanwhile. Never brings back a key that seals.</summary>
    /// <param name="keyId">The key.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="KeyRevokedException">Neither it nor, where it is a kek that no longer seals, a row key under it is scheduled for destruction: also where it is destroyed. Nothing was changed.</exception>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no such key.</exception>
    /// <exception cref="KeyRingTamperedException">Its row of the ring, or that of a row key under it, is not genuine.</exception>
    /// <exception cref="EnvelopeConfigurationException">The key neither seals values nor wraps row keys.</exception>
    /// <exception cref="KeyUnavailableException">Others change the same keys at the same time, or the ring cannot be reached. What was brought back by then stays so; call it again.</exception>
    public async Task<KeyInfo> CancelDestructionAsync(Guid keyId, string? reason = null, CancellationToken cancellationToken = default)
    {
        await _session.Ring.CancelDestructionAsync(keyId, reason, Environment.UserName, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        return await ReadAsync(keyId, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Destroys the keys whose waiting window is over and that no cell names, counted again after the cut-off: their wrapped forms are gone for ever, their rows stay as tombstones. A key that cells name (a backup came back, a row
    /// was planted) is kept, scheduled, and listed; so is every key while the ring serves other databases that the census does not count, or lists columns that are not found. Row keys under a destroyed kek, which open nothing
    /// (a row that was saved while its scope was erased may leave one), are destroyed without a census. Run it daily, or by hand.
    /// </summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>What was destroyed, what was kept and why, and how many keys wait for their window.</returns>
    /// <exception cref="EnvelopeConfigurationException">Tables of the model or the ring are missing, or row-level security hides rows from the role: what cannot be counted is not destroyed.</exception>
    /// <exception cref="KeyRingTamperedException">A row of the ring was changed by somebody else. What was destroyed by then stays so.</exception>
    /// <exception cref="KeyUnavailableException">Others change the same keys at the same time, or the ring cannot be reached. What was destroyed by then stays so; call it again.</exception>
    public async Task<DestructionReport> DestroyDueAsync(CancellationToken cancellationToken = default)
    {
        var now = _session.Runtime.TimeProvider.GetUtcNow();
        var (ring, store) = (_session.Ring, _session.OpenStore());
        var due = new DueKeys(now);
        foreach (var key in await ring.ListAsync(includeRowKeys: false, store, cancellationToken).ConfigureAwait(false))
        {
            due.Add(key);
        }

        await ring.VisitAsync(RingFilter.RowKeys, due.Restart, due.Add, store, cancellationToken).ConfigureAwait(false);
        var destroyed = await ring.DestroyOrphansAsync(due.OrphanKeks, store, cancellationToken).ConfigureAwait(false);
        if (due.IsEmpty)
        {
            return new DestructionReport(ChangedKeys.Of(destroyed), [], due.Waiting);
        }

        if (await CutOff.WaitAsync(_session, _session.Runtime.TimeProvider.GetTimestamp(), CutOffTimeout, cancellationToken).ConfigureAwait(false) is { } notReached)
        {
            return KeepAll(due, destroyed, null, notReached);
        }

        var census = await CensusTaker.TakeAsync(_session, e => e.State == KeyState.PendingDestruction, cancellationToken).ConfigureAwait(false);
        if (census.NotAllBecause is { } notAll)
        {
            return KeepAll(due, destroyed, census, notAll);
        }

        // A kek is kept as long as a cell names one of the row keys under it, also one that was taken back by itself.
        var keptKeks = census.Entries.Where(e => e is { KekId: not null, State: not KeyState.Destroyed }).Select(e => e.KekId!.Value).ToHashSet();
        var kept = new List<KeptKey>();
        long keptRowKeys = 0;
        await ring.DestroyDueRowKeysAsync(IsUnused, destroyed, store, cancellationToken).ConfigureAwait(false);
        foreach (var key in await ring.DestroyDueAsync([.. due.Scopes.Where(e => census.CountOf(e.Id) == 0 && !keptKeks.Contains(e.Id))], store, cancellationToken).ConfigureAwait(false))
        {
            destroyed.Add(key);
        }

        var gone = destroyed.Listed.Where(e => e.KekId is null).Select(e => e.Id).ToHashSet();
        kept.AddRange(due.Scopes.Where(e => !gone.Contains(e.Id)).Select(e => new KeptKey(KeyInfo.Of(e), census.CountOf(e.Id), Why(e))));
        return new DestructionReport(ChangedKeys.Of(destroyed), kept, due.Waiting) { KeptTotal = kept.Count(k => k.Key.KekId is null) + keptRowKeys };

        bool IsUnused(KeyRingEntry rowKey)
        {
            if (!census.MayName(rowKey))
            {
                return true;
            }

            if (KeyResolver.IsDestructionDue(rowKey, now) && ++keptRowKeys <= ChangedEntries.MaxRowKeys)
            {
                kept.Add(new KeptKey(KeyInfo.Of(rowKey), census.CountOf(rowKey.Id), Why(rowKey)));
            }

            return false;
        }

        string Why(KeyRingEntry e) => census.CountOf(e.Id) > 0 ? $"{census.CountOf(e.Id)} cell(s) name it: cancel the destruction and re-encrypt them, or remove them"
            : e.KekId is not null ? "cells name it, or others of the row keys under its kek, of which there are too many to tell: cancel the destruction and re-encrypt them, or remove them"
            : keptKeks.Contains(e.Id) ? "cells name row keys under it: cancel the destruction and re-encrypt them, or remove them"
            : "it was changed meanwhile";
    }

    private static DestructionReport KeepAll(DueKeys due, ChangedEntries destroyed, EnvelopeCensus? census, string why)
        => new(ChangedKeys.Of(destroyed), [.. due.Listed.Select(e => new KeptKey(KeyInfo.Of(e), census?.CountOf(e.Id) ?? 0, why))], due.Waiting) { KeptTotal = due.Scopes.Count + due.RowKeys };

    /// <summary>
    /// Erases a tenant or subject: destroys its keys, and the row keys under them, at once and for ever, although cells name them. Those cells, and copies of them in backups of the data, can never be read again: every process
    /// fails with <see cref="KeyDestroyedException"/>, within the sealing lease, and the scope takes no new values. Backups of the ring's table still hold the wrapped keys until they expire.
    /// </summary>
    /// <param name="scope">The scope; not the global one.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call; what is destroyed by then stays so, and the call may be repeated.</param>
    /// <returns>The destroyed keys; of row keys the first 1,000.</returns>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no key of it.</exception>
    /// <exception cref="KeyDestroyedException">It is erased already.</exception>
    /// <exception cref="KeyRingTamperedException">Its keys were destroyed, but rows of the ring do not authenticate, and may be keys of the scope: the erasure is not complete.</exception>
    /// <exception cref="EnvelopeConfigurationException">The global scope cannot be erased.</exception>
    public async Task<ChangedKeys> EraseAsync(EnvelopeScope scope, string reason, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        if (scope == EnvelopeScope.Global)
        {
            throw new EnvelopeConfigurationException("The global scope holds every value without a tenant or subject, and the ring's own keys: it cannot be erased. Nothing was changed.");
        }

        return ChangedKeys.Of(await _session.Ring.EraseAsync(scope.Value, reason, Environment.UserName, _session.OpenStore(), cancellationToken).ConfigureAwait(false));
    }
}
