namespace EfEnvelope.Keys;

/// <summary>Whether a held key may still be used: the ring's word for its state, the key service's for the root key.</summary>
internal sealed partial class KeyRing
{
    /// <summary>How long the ring or the key service is left alone after an outage or a refusal.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    private bool IsRevalidationDue(RingKey key) => KeyResolver.IsRevalidationDue(_time.GetElapsedTime(key.ValidatedAt), _options);

    private long PauseEnd => _time.GetTimestamp() + (long)(Pause.TotalSeconds * _time.TimestampFrequency);

    /// <summary>Asks the key service whether a held key may still be used, one call at a time: a refusal counts at once, an outage only when the key is too old.</summary>
    private async ValueTask RevalidateAsync(RingKey key, CancellationToken cancellationToken)
    {
        var root = key.Kek ?? key;
        if (!IsRevalidationDue(root) && root.Refusal is null)
        {
            return;
        }

        var tooOld = KeyResolver.IsTooOld(_time.GetElapsedTime(root.ValidatedAt), _options);
        if (_time.GetTimestamp() < root.AskAgainAt)
        {
            if (root.Refusal is { } refusal)
            {
                throw refusal;
            }

            if (!tooOld)
            {
                return;
            }
        }

        try
        {
            await SingleFlightAsync("validate " + root.Id, () => Task.Run(() => AskAsync(root)), cancellationToken).ConfigureAwait(false);
        }
        catch (KeyUnavailableException) when (root.Refusal is not null)
        {
            throw root.Refusal;
        }
        catch (KeyUnavailableException) when (!tooOld)
        {
            // The key service is out of reach: the key serves on, up to its stated age.
        }
    }

    private async Task<RingKey> AskAsync(RingKey root)
    {
        // A caller that found the key due may come here after the answer to another.
        var asked = _time.GetTimestamp();
        if (root.Refusal is { } known && asked < root.AskAgainAt)
        {
            throw known;
        }

        if (root.Refusal is null && !KeyResolver.IsRevalidationNear(_time.GetElapsedTime(root.ValidatedAt), _options))
        {
            return root;
        }

        var identity = _identity ?? throw new KeyUnavailableException("The key ring is being opened anew. Retry.");
        try
        {
            using var again = await UnwrapAsync(root.Entry, identity, CancellationToken.None).ConfigureAwait(false);
            root.Refusal = null;
            root.ValidatedAt = asked;
            WatchMacKey(root);
        }
        catch (KeyUnavailableException)
        {
            root.AskAgainAt = PauseEnd;
            throw;
        }
        catch (EnvelopeEncryptionException refusal)
        {
            root.Refusal = refusal;
            root.AskAgainAt = PauseEnd;
            throw;
        }

        return root;
    }

    /// <summary>
    /// The mac key is asked for once a process, and serves on whatever the key service says later: it guards no value. But where its root key is disabled or about to be deleted, no process that starts can open the ring; the audit event says so
    /// while there is time.
    /// </summary>
    private void WatchMacKey(RingKey asked)
    {
        if (_macKey is { } mac && !ReferenceEquals(mac, asked))
        {
            // A refusal stops nobody who holds the key: it is asked for again, and told again, each time.
            mac.Refusal = null;
            RevalidateAhead(mac);
        }
    }

    /// <summary>
    /// Confirms ahead of the lease, and asks the key service ahead of the revalidation, in the background, so that a busy process never waits for either. Only stores of the ring's own
    /// connection may outlive their caller.
    /// </summary>
    private void RefreshAhead(IKeyRingStore store, RingKey key)
    {
        key.LastUsed = Environment.TickCount64;
        RevalidateAhead(key);
        if (store.UsesCallersConnection || !KeyResolver.IsRefreshDue(SinceConfirmed, _options.SealingLease) || Volatile.Read(ref _refreshRunning) != 0)
        {
            return;
        }

        // Before the mark: a caller whose context is gone fails here, and the mark would stand for ever.
        var own = store.Detach();
        if (Interlocked.Exchange(ref _refreshRunning, 1) != 0)
        {
            return;
        }

        _ = Task.Run(async () =>
        {
            try
            {
                await ConfirmForAllAsync(isEnough: null, own, CancellationToken.None).ConfigureAwait(false);
            }
            catch (EnvelopeEncryptionException)
            {
                // An outage: keys serve on within their lease; the next use tries again, and says so when the lease is over.
            }
            finally
            {
                Volatile.Write(ref _refreshRunning, 0);
            }
        });
    }

    private void RevalidateAhead(RingKey key)
    {
        var root = key.Kek ?? key;
        if (!KeyResolver.IsRevalidationNear(_time.GetElapsedTime(root.ValidatedAt), _options) || _time.GetTimestamp() < root.AskAgainAt)
        {
            return;
        }

        root.AskAgainAt = PauseEnd;
        _ = SingleFlightAsync("validate " + root.Id, () => Task.Run(() => AskAsync(root)), CancellationToken.None)
            .ContinueWith(static asked => _ = asked.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }
}
