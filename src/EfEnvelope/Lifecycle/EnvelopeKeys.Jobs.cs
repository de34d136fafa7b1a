using EfEnvelope.Reencryption;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope;

/// <content>Jobs, running and past.</content>
public sealed partial class EnvelopeKeys
{
    /// <summary>The re-encryption jobs of this database, the newest first, with their progress and with the workers that hold a unit now, of any process and machine. Reads the job tables, and asks no key service.</summary>
    /// <param name="atMost">How many jobs. 1 to 10,000, default 20.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">A job table is missing: the message says which migration.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="atMost"/> is out of its range.</exception>
    public Task<IReadOnlyList<ReencryptionJobInfo>> ListJobsAsync(int atMost = 20, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(atMost, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(atMost, 10_000);
        return ExplainingAsync<IReadOnlyList<ReencryptionJobInfo>>(async () =>
        {
            var lease = await RingStoreFactory.Connect(_session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (lease.ConfigureAwait(false))
            {
                return await new JobListing(_session).ReadAsync(lease.Connection, lease.Transaction, atMost, cancellationToken).ConfigureAwait(false);
            }
        });
    }
}
