using EfEnvelope.Proof;
using EfEnvelope.Reencryption;

namespace EfEnvelope;

/// <summary>Proofs: made again, and checked.</summary>
public sealed partial class EnvelopeKeys
{
    private const int MaxAttempts = 20;

    /// <summary>
    /// Proves anew, without a job, that no cell names a retired key: waits for the cut-off (<see cref="CutOffTimeout"/>), counts, opens a sample, and authenticates the report. For the time after the destruction window, or for an
    /// auditor at any time. Changes nothing but, in a ring that serves several databases, that this one was counted; reads whole tables, the database does the counting.
    /// </summary>
    /// <param name="sampleSize">Random cells of every encrypted column that are opened. 0 to 1,000, default 10.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">The sample size is out of range; the database lacks a table, or would hide rows from this role.</exception>
    public async Task<CompletionReport> ReportCensusAsync(int sampleSize = 10, CancellationToken cancellationToken = default)
    {
        new ReencryptionOptions { SampleSize = sampleSize }.Validate();
        var time = _session.Runtime.TimeProvider;
        var (startedAt, started) = (time.GetUtcNow(), time.GetTimestamp());
        var (retired, epoch) = await ListRetiredAsync(cancellationToken).ConfigureAwait(false);
        CompletionCutOff cutOff;
        EnvelopeCensus census;
        bool isSettled;
        for (var attempt = 1; ; attempt++)
        {
            cutOff = await CutOff.ReachAsync(_session, retired, time.GetTimestamp(), CutOffTimeout, cancellationToken).ConfigureAwait(false);
            census = await TakeCensusAsync(cancellationToken).ConfigureAwait(false);

            // Listed again: row keys may have been made under a retired kek until the cut-off, and what was retired since has a cut-off of its own.
            var listed = await ListRetiredAsync(cancellationToken).ConfigureAwait(false);
            isSettled = listed.Retired.IsWithin(retired);
            (retired, epoch) = listed;
            if (isSettled || !cutOff.IsReached || attempt == MaxAttempts)
            {
                break;
            }
        }

        var left = census.Entries.Where(retired.IsStale).Sum(e => e.Cells);
        return await ProofMaker.MakeAsync(
            _session,
            new CompletionFacts
            {
                Kind = CompletionKind.Census, StartedAt = startedAt, Elapsed = time.GetElapsedTime(started), StaleKeys = retired.Entries, StaleRowKeys = retired.RowKeys, CutOff = cutOff, Census = census, Epoch = epoch,
                NotProvenBecause = left > 0 ? $"{left} cell(s) still name stale keys" : cutOff.NotReachedBecause ?? (isSettled ? census.UnknownKeysBecause ?? census.NotOwnBecause : "keys are retired again and again meanwhile"), SampleSize = sampleSize,
            },
            cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The retired keys, and an epoch of the ring up to which all are listed.</summary>
    private async Task<(StaleKeys Retired, long Epoch)> ListRetiredAsync(CancellationToken cancellationToken)
    {
        var store = _session.OpenStore();
        var epoch = (await _session.Ring.ConfirmAsync(store, cancellationToken).ConfigureAwait(false)).Epoch;
        var listedAt = _session.Runtime.TimeProvider.GetUtcNow();
        return (StaleKeys.RetiredOf(await _session.Ring.SummarizeAsync(store, cancellationToken).ConfigureAwait(false), listedAt), epoch);
    }

    /// <summary>Checks a completion report: its hashes, that this database's ring authenticated it, and which of its members differ. Reads the ring; needs the key service, and none of the application's tables.</summary>
    /// <param name="json">What <see cref="CompletionReport.ToJson"/> gave; a line end behind it is allowed.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>The outcome; a report that is not genuine is no exception.</returns>
    public Task<ReportVerification> VerifyReportAsync(string json, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(json);
        return ProofMaker.VerifyAsync(_session, json, cancellationToken);
    }
}
