using EfEnvelope.Diagnostics;

namespace EfEnvelope.Keys;

/// <summary>Confirming what is held: the ring's epoch says whether anything changed, and the held keys' own rows say what.</summary>
internal sealed partial class KeyRing
{
    /// <summary>What is told where only a standby answers.</summary>
    public static KeyUnavailableException OfStandby()
        => new("The key ring was read from a standby, whose answer may be old: nothing is sealed by it. Nothing was written. Retry; where it lasts, have the connection string name the primary (Target Session Attributes=primary).");

    private async Task<RingIdentity> ConfirmCoreAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        var isConnected = false;
        try
        {
            return await store.OnOneConnectionAsync(
                one =>
                {
                    isConnected = true;
                    return ConfirmOnAsync(one, cancellationToken);
                },
                cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (!isConnected)
            {
                Telemetry.Confirmed(false);
            }
        }
    }

    private async Task<RingIdentity> ConfirmOnAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        var raised = false;
        while (true)
        {
            // Taken before the query is sent: what it answers was true then, not when it arrived.
            var asked = Confirmation.Now(_time);
            var (invalidations, outdated) = (Interlocked.Read(ref _invalidations), Interlocked.Read(ref _outdated));
            var held = _identity;
            var identity = await AskRingAsync(store, cancellationToken).ConfigureAwait(false);
            if (identity.IsStandby && held is not null && held.Id == identity.Id && held.Epoch > identity.Epoch && !store.IsTransient)
            {
                throw new KeyUnavailableException(
                    "The key ring was read from a standby that lags behind what this process has seen already. It confirms nothing: held keys open on up to their stated age; nothing was written. Retry; where it lasts, see to that standby, or have the connection string name the primary (Target Session Attributes=primary).");
            }

            if (_seals && !raised && !store.IsTransient && !identity.IsStandby && identity.SealingLease < _options.SealingLease)
            {
                // Asked again: whoever reads the lease from now on waits for this process, and this process knows what had changed until then.
                await store.RaiseSealingLeaseAsync(_options.SealingLease, cancellationToken).ConfigureAwait(false);
                raised = true;
                continue;
            }

            // Without the mac key nothing has vouched for the former salt either.
            if (held is not null && _macKey is not null && held.Id == identity.Id && !held.Salt.AsSpan().SequenceEqual(identity.Salt))
            {
                _audit.RingTampered(null);
                throw new KeyRingTamperedException(
                    $"The key ring's own row has another salt than it had: somebody else than EfEnvelope changed it. The salt stands in the encryption context of every wrapped key: none was made under the new one. Restore the row, or import an export of the ring ({identity.Id}), which brings the salt back.");
            }

            var (changed, gone) = held is not null && held.Id == identity.Id && held.Epoch < identity.Epoch
                ? await ReadChangedAsync(held.Epoch, store, cancellationToken).ConfigureAwait(false)
                : ([], []);
            lock (_state)
            {
                if (invalidations != _invalidations)
                {
                    // The database was dropped in between: what was read may be of the old one.
                    continue;
                }

                if (outdated != _outdated && identity.Epoch < _outdatedEpoch && !store.IsTransient)
                {
                    // Another cache of the process changed the ring meanwhile: what was answered before that confirms nothing.
                    continue;
                }

                if (held is not null && (held.Id != identity.Id || (held.Epoch > identity.Epoch && !store.IsTransient)))
                {
                    // Another ring, or this one went back in time (a restore): nothing that is held can be trusted to be there.
                    _audit.RingReplaced(identity.Id);
                    Invalidate();
                }

                foreach (var entry in changed)
                {
                    Adopt(entry);
                }

                if (gone.Count > 0)
                {
                    // Their rows are not there any more: the next use asks the ring, and says so.
                    _generation++;
                    ForgetWithWrapped(gone);
                }

                // The caller's own transaction may see the ring as it was long ago, and changes that roll back: it confirms nothing for others.
                if (held is null || !store.IsTransient)
                {
                    _identity = identity;
                    _confirmed = asked;
                    _confirmedByPrimary = identity.IsStandby ? _confirmedByPrimary : asked;
                    Interlocked.Exchange(ref _answeredAt, asked.At);
                }
            }

            if (held is not null && held.Epoch < identity.Epoch && !store.IsTransient)
            {
                KeyRingRegistry.Outdate(this, identity.Id, identity.Epoch);
            }

            return identity;
        }
    }

    /// <summary>
    /// What changed since an epoch. The rows' own epochs are not authenticated - a row's HMAC is made before its epoch is known - so they are trusted to say what is new, never that a held key is unchanged: the rows of all held keys
    /// that choose what is sealed are read by id. Row keys that only open stand under a kek that is read.
    /// </summary>
    private async Task<(IReadOnlyList<KeyRingEntry> Changed, IReadOnlyList<RingKey> Gone)> ReadChangedAsync(long sinceEpoch, IKeyRingStore store, CancellationToken cancellationToken)
    {
        // Listed before anything is read: a key that is entered later was read after the epoch was.
        var held = _keys.Select(k => k.Value).Where(k => k.Kek is null).Concat(_sealing.Select(k => k.Value)).DistinctBy(k => k.Id).ToDictionary(k => k.Id);
        var changed = await FindChangedAsync(sinceEpoch, store, cancellationToken).ConfigureAwait(false);
        foreach (var id in changed.Keys)
        {
            held.Remove(id);
        }

        if (held.Count == 0)
        {
            return ([.. changed.Values], []);
        }

        var found = await store.FindByIdAsync(held.Keys, cancellationToken).ConfigureAwait(false);
        var all = new List<KeyRingEntry>(changed.Values);
        foreach (var entry in found)
        {
            if (held.Remove(entry.Id, out var key) && !IsUnchanged(key, entry))
            {
                all.Add(entry);
            }
        }

        // A caller's transaction may be older than a key that this process made meanwhile.
        return (all, store.IsTransient ? [] : [.. held.Values]);
    }

    /// <summary>
    /// The changed rows that concern what is held. A job renews the keys of thousands of rows a second, of which this process knows few: the others are passed over and not kept.
    /// </summary>
    private async Task<Dictionary<Guid, KeyRingEntry>> FindChangedAsync(long sinceEpoch, IKeyRingStore store, CancellationToken cancellationToken)
    {
        lock (_state)
        {
            // Whoever read a key's row before reads it again: what is entered from now on was read after the epoch was, and needs no telling.
            _generation++;
        }

        var changed = new Dictionary<Guid, KeyRingEntry>();
        await store.VisitAsync(
            new RingFilter { ChangedSince = sinceEpoch },
            changed.Clear,
            entry =>
            {
                if (entry.KekId is null || _keys.ContainsKey(entry.Id) || _unopenable.ContainsKey(entry.Id) || _sealing.ContainsKey(SealingName(entry.Scope, entry.Purpose)))
                {
                    changed[entry.Id] = entry;
                }
            },
            cancellationToken).ConfigureAwait(false);
        return changed;
    }

    /// <summary>Every field of a row goes into its HMAC.</summary>
    private bool IsUnchanged(RingKey key, KeyRingEntry entry)
        => key.Entry is { } known && known.Mac.AsSpan().SequenceEqual(entry.Mac) && _macKey is { } mac && _identity is { } identity && KeyMetadataMac.IsGenuine(mac.Key, identity.Id, entry);

    /// <summary>Takes up a changed row: new states count at once; a new version ends the old one's sealing.</summary>
    private void Adopt(KeyRingEntry entry)
    {
        lock (_state)
        {
            _generation++;
            var sealingName = SealingName(entry.Scope, entry.Purpose);
            if (_sealing.TryGetValue(sealingName, out var sealing) && (sealing.Id != entry.Id || !KeyResolver.MaySeal(entry.State)))
            {
                _sealing.TryRemove(sealingName, out _);
            }

            _unopenable.TryRemove(entry.Id, out _);
            if (_identity is not { } identity)
            {
                return;
            }

            if (_macKey is { } own && own.Id == entry.Id && entry.Revision >= own.Entry.Revision && IsGenuine(own.Key, identity.Id, entry))
            {
                // Wrapped anew.
                own.Entry = entry;
            }

            if (!_keys.TryGetValue(entry.Id, out var key))
            {
                return;
            }

            if (_macKey is { } mac && !IsGenuine(mac.Key, identity.Id, entry))
            {
                // The next use reads the row again, and says what is wrong with it.
                ForgetWithWrapped([key]);
                return;
            }

            if (entry.Revision < key.Entry.Revision)
            {
                // Read before a change that this process made or saw meanwhile; or a former row that was put back, which the next use refuses.
                return;
            }

            Witness(entry);
            key.Entry = entry;
            if (!KeyResolver.MayOpen(entry.State))
            {
                ForgetWithWrapped([key]);
                _unopenable[entry.Id] = new Unopenable(KeyResolver.OpeningError(entry.Id, entry), _time.GetTimestamp(), Permanent: true);
            }
        }
    }
}
