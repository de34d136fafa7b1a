namespace EfEnvelope.Keys;

/// <summary>
/// The keys that one save, statement or batch of a job seals with, and the confirmation that they stand on. It answers one question: may what they sealed be written? Whoever waits for a key's end waits for a lease, and then for everything that
/// had begun on the server before; so the question is asked when what is written has begun there: a statement of its transaction was answered, or it holds SQLite's write lock. Not thread safe.
/// </summary>
/// <param name="ring">The ring. Its last confirmation is noted here, before the first key is asked for: one that follows may be what retires a key that was chosen already.</param>
/// <param name="isOfTransaction">Whether the keys are read in the caller's own transaction: SQLite lets that write only while nothing was committed since, so that the keys are what they were.</param>
internal sealed class SealingLease(KeyRing ring, bool isOfTransaction) : IDisposable
{
    private const int MaxAttempts = 5;

    private Confirmation _confirmed = ring.Confirmed;

    /// <summary>What seals. Keys that only open are pinned elsewhere: they may be retired.</summary>
    public KeyPins Keys { get; } = new();

    /// <summary>Whether these are keys of that ring.</summary>
    public bool IsOf(KeyRing other) => ReferenceEquals(ring, other);

    /// <summary>Whether each key may still seal, as confirmed no longer than a lease ago. No I/O; false means that the ring is to be asked.</summary>
    public bool IsValid
    {
        get
        {
            if (isOfTransaction || ring.IsFresh(_confirmed))
            {
                return true;
            }

            // Read before the states, which are at least as new then.
            var confirmed = ring.Confirmed;
            if (!ring.IsFresh(confirmed) || Keys.FindRetired() is not null)
            {
                return false;
            }

            _confirmed = confirmed;
            return true;
        }
    }

    /// <summary>Whether the lease's second half has begun: a process that is busy confirms in the background before. No I/O.</summary>
    public bool IsHalfOver => !IsValid || ring.IsRefreshDue(_confirmed);

    /// <summary>Asks the ring where its last answer is older than a lease.</summary>
    /// <returns>A key that was retired: nothing that it sealed may be written. Null when all still seal.</returns>
    public async ValueTask<RingKey?> FindRetiredAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            if (IsValid)
            {
                return null;
            }

            await ring.EnsureConfirmedForSealingAsync(store, cancellationToken).ConfigureAwait(false);

            // In the caller's transaction the ring's rows are what they will be when it commits, or it fails to: what they say now is enough, and confirms nothing for anybody else.
            var retired = Keys.FindRetired();
            if (retired is not null || store.IsTransient)
            {
                return retired;
            }
        }

        throw new KeyUnavailableException("The keys of a save could not be confirmed within the sealing lease: the ring is too slow. Nothing was written. Retry.");
    }

    /// <summary>
    /// For a statement that commits by itself, and is asked nothing when it has arrived: asks the ring where its last answer is older than half a lease, so that half a lease at least is left for the way.
    /// </summary>
    /// <returns>A key that was retired; null when all still seal.</returns>
    public async ValueTask<RingKey?> FindRetiredAnewAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (!isOfTransaction && IsHalfOver)
        {
            var latest = ring.Confirmed;
            if (!ring.IsFresh(latest) || ring.IsRefreshDue(latest))
            {
                await ring.RefreshAsync(store, cancellationToken).ConfigureAwait(false);
                latest = ring.Confirmed;
            }

            if (Keys.FindRetired() is { } retired)
            {
                return retired;
            }

            _confirmed = latest;
        }

        return await FindRetiredAsync(store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What is told where what a key had sealed may not be written.</summary>
    /// <param name="key">The key.</param>
    /// <param name="outcome">What became of the rest, and what to do.</param>
    public static KeyUnavailableException Refusal(RingKey key, string outcome)
        => new($"Key {key.Id} was retired while what it had sealed waited longer than the sealing lease to be written. {outcome}") { KeyId = key.Id };

    /// <summary>Lets the keys go, for others to be chosen.</summary>
    public void Renew()
    {
        _confirmed = ring.Confirmed;
        Keys.Dispose();
    }

    public void Dispose() => Keys.Dispose();
}
