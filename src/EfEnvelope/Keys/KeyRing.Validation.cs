namespace EfEnvelope.Keys;

/// <summary>Whether a held key may still be used: the ring's word for its state, the key service's for the root key.</summary>
internal sealed partial class KeyRing
{
    /// <summary>How long the ring or the key service is left alone after an outage or a refusal.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    /// <summary>The most of it, where outages of the key service follow each other.</summary>
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(1);

    /// <summary>How long the use of a key that may serve on waits for the key service's answer. A later refusal counts at the next use.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private bool IsRevalidationDue(RingKey key) => KeyResolver.IsRevalidationDue(_time.GetElapsedTime(key.ValidatedAt), _options);

    private long PauseEnd => After(Pause);

    private long After(TimeSpan pause) => _time.GetTimestamp() + (long)(pause.TotalSeconds * _time.TimestampFrequency);

    /// <summary>The key service is out of reach for all keys, not for one: those that may serve on do so without asking, for a pause that doubles with each outage behind the last.</summary>
    private void LeaveServiceAlone()
    {
        lock (_state)
        {
            if (_time.GetTimestamp() >= Volatile.Read(ref _serviceAwayUntil))
            {
                _servicePause = _servicePause == TimeSpan.Zero ? Pause : _servicePause * 2 < LongestPause ? _servicePause * 2 : LongestPause;
                Volatile.Write(ref _serviceAwayUntil, After(_servicePause));
            }
        }
    }

    private void ServiceAnswered()
    {
        if (Volatile.Read(ref _serviceAwayUntil) != 0)
        {
            lock (_state)
            {
                _servicePause = TimeSpan.Zero;
                Volatile.Write(ref _serviceAwayUntil, 0);
            }
        }
    }

    /// <summary>Asks the key service whether a held key may still be used, one call at a time: a refusal counts at once, an outage only when the key is too old. Until then nobody waits for a service that does not answer.</summary>
    private async ValueTask RevalidateAsync(RingKey key, CancellationToken cancellationToken)
    {
        var root = key.Kek ?? key;
        if (!IsRevalidationDue(root) && root.Refusal is null)
        {
            return;
        }

        var tooOld = KeyResolver.IsTooOld(_time.GetElapsedTime(root.ValidatedAt), _options);
        var now = _time.GetTimestamp();
        if (root.Refusal is { } refusal)
        {
            if (now < root.AskAgainAt)
            {
                throw refusal;
            }
        }
        else if (!tooOld && (now < root.AskAgainAt || now < Volatile.Read(ref _serviceAwayUntil)))
        {
            return;
        }

        var mayServeOn = !tooOld && root.Refusal is null;
        var flight = SingleFlightAsync("validate " + root.Id, () => Task.Run(() => AskAsync(root)), cancellationToken);
        if (mayServeOn && await Task.WhenAny(flight, Task.Delay(Patience, _time, cancellationToken)).ConfigureAwait(false) != flight)
        {
            cancellationToken.ThrowIfCancellationRequested();
            LeaveServiceAlone();
            _ = flight.ContinueWith(static asked => _ = asked.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            return;
        }

        try
        {
            await flight.ConfigureAwait(false);
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
            ServiceAnswered();
            root.Refusal = null;
            root.ValidatedAt = asked;
            WatchMacKey(root);
        }
        catch (KeyUnavailableException)
        {
            root.AskAgainAt = PauseEnd;
            LeaveServiceAlone();
            throw;
        }
        catch (EnvelopeEncryptionException refusal)
        {
            ServiceAnswered();
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
        if (store.UsesCallersConnection || !IsRefreshDue(_confirmedByPrimary) || Volatile.Read(ref _refreshRunning) != 0)
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
        if (!KeyResolver.IsRevalidationNear(_time.GetElapsedTime(root.ValidatedAt), _options) || _time.GetTimestamp() < Math.Max(root.AskAgainAt, Volatile.Read(ref _serviceAwayUntil)))
        {
            return;
        }

        root.AskAgainAt = PauseEnd;
        _ = SingleFlightAsync("validate " + root.Id, () => Task.Run(() => AskAsync(root)), CancellationToken.None)
            .ContinueWith(static asked => _ = asked.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }
}
