using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope;

/// <summary>
/// The life of the keys behind a context: rotate, report compromised, re-encrypt, count, revoke, destroy. Uses connections of its own beside the context's. Not thread safe, like the
/// context; several instances, also in other processes, may work at the same time.
/// </summary>
/// <remarks>Three operations stay distinct: rewrap touches no row; rotate gives new writes a new key at once; re-encrypt moves the rows.</remarks>
public sealed partial class EnvelopeKeys
{
    private readonly EnvelopeSession _session;

    /// <summary>The keys of a context that uses envelope encryption. No I/O.</summary>
    /// <param name="context">The context.</param>
    /// <exception cref="EnvelopeConfigurationException">Its options do not call UseEnvelopeEncryption.</exception>
    public EnvelopeKeys(DbContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        _session = EnvelopeSession.Of(context);
    }

    /// <summary>Every key of the ring, authenticated. Row keys only on request: a list of them takes memory for each; <see cref="CountRowKeysAsync"/> does not.</summary>
    /// <param name="includeRowKeys">Whether row keys are listed too. Default false.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>The keys, of every state.</returns>
    /// <exception cref="KeyRingTamperedException">A row of the ring was changed by somebody else.</exception>
    /// <exception cref="KeyRefusedException">The key service refuses the ring's own mac key, which a process asks for once.</exception>
    /// <exception cref="KeyUnavailableException">The ring or the key service cannot be reached. Nothing was changed; retry.</exception>
    public async Task<IReadOnlyList<KeyInfo>> ListAsync(bool includeRowKeys = false, CancellationToken cancellationToken = default)
        => [.. (await _session.Ring.ListAsync(includeRowKeys, _session.OpenStore(), cancellationToken).ConfigureAwait(false)).Select(KeyInfo.Of)];

    /// <summary>How many row keys the ring holds, by their own state; each is authenticated, none is kept. Reads the whole ring.</summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="KeyRingTamperedException">A row of the ring is not genuine.</exception>
    public async Task<IReadOnlyDictionary<KeyState, long>> CountRowKeysAsync(CancellationToken cancellationToken = default)
        => (await _session.Ring.SummarizeAsync(_session.OpenStore(), cancellationToken).ConfigureAwait(false)).RowKeys.GroupBy(k => k.State).ToDictionary(g => g.Key, g => g.Sum(k => k.Keys));

    /// <summary>
    /// Rotates a scope's data key: new writes use the new version at once in this process, everywhere within the sealing lease. Rows stay under the old one until <see cref="ReencryptAsync"/>. A scope with row keys gets a new
    /// kek too.
    /// </summary>
    /// <param name="scope">The scope: <see cref="EnvelopeScope"/>.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="KeyDestroyedException">The scope is erased: it gets no new key.</exception>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no key of it.</exception>
    public async Task<IReadOnlyList<KeyInfo>> RotateAsync(EnvelopeScope scope, string? reason = null, CancellationToken cancellationToken = default)
    {
        var store = _session.OpenStore();
        var rotated = new List<KeyInfo>();
        foreach (var purpose in new[] { KeyPurpose.Field, KeyPurpose.Kek })
        {
            if ((await store.FindByScopeAsync([scope.Value], purpose, cancellationToken).ConfigureAwait(false)).Count > 0)
            {
                rotated.Add(KeyInfo.Of(await _session.Ring.RotateAsync(scope.Value, purpose, reason, store, cancellationToken).ConfigureAwait(false)));
            }
        }

        return rotated.Count > 0
            ? rotated
            : throw new KeyNotFoundInRingException($"The key ring has no key of scope '{scope.Value}'. Nothing was rotated; `status` lists the scopes.");
    }

    /// <summary>Re-encrypts every row that names a deactivated or compromised key. Resumable: after a crash, run it again.</summary>
    /// <param name="options">Batch size, parallelism, limits; null for the defaults.</param>
    /// <param name="progress">Told after each batch, from any thread.</param>
    /// <param name="cancellationToken">Stops after the current batch; nothing is lost.</param>
    /// <returns>What was done, and whether it is proven that no cell names a retired key.</returns>
    /// <exception cref="EnvelopeConfigurationException">An option is out of its range, tables of the ring or of the job are missing, or row-level security hides rows from the role. Batches that were committed stand.</exception>
    /// <exception cref="KeyRingTamperedException">The ring's own mac key is not what EfEnvelope wrote.</exception>
    /// <exception cref="KeyRefusedException">The key service refuses the ring's own mac key. A key of rows that is refused is passed over, and told in the report.</exception>
    /// <exception cref="KeyUnavailableException">The ring or the key service cannot be reached. Batches that were committed stand; run it again.</exception>
    /// <exception cref="OperationCanceledException">It was stopped, or the window closed and <see cref="ReencryptionWindow"/> says that it then ends. Batches that were committed stand; run it again.</exception>
    /// <exception cref="System.Data.Common.DbException">The database failed otherwise than for a moment. Batches that were committed stand.</exception>
    public Task<ReencryptionReport> ReencryptAsync(ReencryptionOptions? options = null, IProgress<ReencryptionProgress>? progress = null, CancellationToken cancellationToken = default)
        => new ReencryptionJob(_session, options ?? new ReencryptionOptions(), progress).RunAsync(cancellationToken);

    /// <summary>Counts, over every encrypted column, how many cells name which key; row keys by kek and state. Reads whole tables; the database does the counting.</summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    public Task<EnvelopeCensus> TakeCensusAsync(CancellationToken cancellationToken = default) => CensusTaker.TakeAsync(_session, null, cancellationToken);

    /// <summary>The same census, with some row keys counted one by one: <see cref="EnvelopeCensus.CountOf"/> tells of them.</summary>
    /// <param name="rowKeys">Ids of row keys, at most 1,000; any other key is counted one by one anyway.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="ArgumentOutOfRangeException">More than 1,000 ids.</exception>
    public Task<EnvelopeCensus> TakeCensusAsync(IReadOnlyCollection<Guid> rowKeys, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(rowKeys);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rowKeys.Count, ColumnTally.MaxListed, nameof(rowKeys));
        var single = rowKeys.ToHashSet();
        return CensusTaker.TakeAsync(_session, key => single.Contains(key.Id), cancellationToken);
    }

    /// <summary>Wraps every key that the key service wraps anew with the root key's current material. No row changes; plaintext keys never leave the service.</summary>
    /// <param name="cancellationToken">Stops between two keys; what was rewrapped stands.</param>
    /// <returns>How many were rewrapped.</returns>
    /// <exception cref="KeyRefusedException">The key service refuses. Keys that were rewrapped by then stand.</exception>
    /// <exception cref="KeyRingTamperedException">A row of the ring was changed by somebody else. Keys that were rewrapped by then stand.</exception>
    /// <exception cref="KeyUnavailableException">The ring or the key service cannot be reached. Keys that were rewrapped by then stand; call it again.</exception>
    public async Task<int> RewrapAsync(CancellationToken cancellationToken = default)
    {
        var count = 0;
        foreach (var key in await ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false))
        {
            if (key.State != KeyState.Destroyed && await _session.Ring.RewrapAsync(key.Id, _session.OpenStore(), cancellationToken).ConfigureAwait(false))
            {
                count++;
            }
        }

        return count;
    }
}
