using EfEnvelope.Reencryption;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope;

/// <content>Cells that a re-encryption job could not open.</content>
public sealed partial class EnvelopeKeys
{
    /// <summary>The cells that jobs could not open, oldest first. Entries leave the list when a job or a retry finds that the application rewrote or deleted them. Reads the database.</summary>
    /// <param name="includeReleased">Whether released entries are listed too, with the reason of their release. Default false.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">The quarantine table is missing: the message says which migration.</exception>
    public Task<IReadOnlyList<QuarantinedCell>> ListQuarantineAsync(bool includeReleased = false, CancellationToken cancellationToken = default)
        => ExplainingAsync<IReadOnlyList<QuarantinedCell>>(async () =>
        {
            var lease = await RingStoreFactory.Connect(_session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (lease.ConfigureAwait(false))
            {
                return await new QuarantineStore(_session).ListAsync(lease.Connection, includeReleased, cancellationToken).ConfigureAwait(false);
            }
        });

    /// <summary>
    /// Tries quarantined cells again, each in a transaction of its own, by compare-and-set: after a key service permits again, or a ring row was restored. Those that open are re-encrypted and leave the list. Writes the database.
    /// </summary>
    /// <param name="ids">Entries of the list; null for all.</param>
    /// <param name="cancellationToken">Stops after the current cell; nothing is lost.</param>
    /// <exception cref="EnvelopeConfigurationException">An id is not listed, or the quarantine table is missing.</exception>
    /// <exception cref="KeyUnavailableException">The key service or the ring cannot be reached; run it again.</exception>
    public Task<QuarantineRetryReport> RetryQuarantineAsync(IReadOnlyCollection<Guid>? ids = null, CancellationToken cancellationToken = default)
        => ExplainingAsync(async () =>
        {
            var stale = StaleKeys.Of(await _session.Ring.SummarizeAsync(_session.OpenStore(), cancellationToken).ConfigureAwait(false));
            return await new QuarantineRetry(_session, stale).RunAsync(ids, cancellationToken).ConfigureAwait(false);
        });

    /// <summary>
    /// Takes cells off the list by decision: nobody is reminded of them any more. Nothing else changes: the cells stay as they are, still name their stale key, and still count in every census, so that no job is proven and no key is
    /// destroyed while they stand. Audited (<see cref="EnvelopeEventId.QuarantineReleased"/>). Writes the database.
    /// </summary>
    /// <param name="ids">Entries of the list.</param>
    /// <param name="reason">Who decided and why, for the record, at most 500 characters; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">An id is not listed, the reason is missing or too long, or the quarantine table is missing. Nothing was changed.</exception>
    public Task<IReadOnlyList<QuarantinedCell>> ReleaseQuarantineAsync(IReadOnlyCollection<Guid> ids, string reason, CancellationToken cancellationToken = default)
        => ExplainingAsync<IReadOnlyList<QuarantinedCell>>(async () =>
        {
            ArgumentNullException.ThrowIfNull(ids);
            if (string.IsNullOrWhiteSpace(reason) || reason.Length > 500)
            {
                throw new EnvelopeConfigurationException("A reason of 1 to 500 characters is needed to release cells from quarantine. Nothing was changed.");
            }

            var lease = await RingStoreFactory.Connect(_session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (lease.ConfigureAwait(false))
            {
                var store = new QuarantineStore(_session);
                var released = new List<QuarantinedCell>();
                foreach (var cell in QuarantineRetry.Choose(await store.ListAsync(lease.Connection, includeReleased: false, cancellationToken).ConfigureAwait(false), ids))
                {
                    if (await store.ReleaseAsync(lease.Connection, cell.Id, reason, cancellationToken).ConfigureAwait(false))
                    {
                        _session.Runtime.Audit.QuarantineReleased(cell.Table, cell.Column, cell.KeyId);
                        released.Add(cell);
                    }
                }

                return released;
            }
        });

    private static async Task<T> ExplainingAsync<T>(Func<Task<T>> work)
    {
        try
        {
            return await work().ConfigureAwait(false);
        }
        catch (System.Data.Common.DbException error) when (Census.TableErrors.Explain(error) is { } explained)
        {
            throw explained;
        }
    }
}
