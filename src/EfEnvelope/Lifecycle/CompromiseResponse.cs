using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;

namespace EfEnvelope.Lifecycle;

/// <summary>
/// The response to a compromise, in the order that leaves the least to an attacker at every moment: stop sealing, new keys, say what is exposed, re-encrypt, refuse. Each step is committed by itself and may be repeated.
/// </summary>
internal sealed class CompromiseResponse(EnvelopeSession session, EnvelopeKeys keys, CompromiseOptions options)
{
    public async Task<CompromiseReport> RunAsync(KeySelection selection, string reason, IProgress<ReencryptionProgress>? progress, CancellationToken cancellationToken)
    {
        options.Reencryption.Validate();
        var by = options.ReportedBy ?? Environment.UserName;
        var compromised = await session.Ring.CompromiseAsync(selection, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var seen = session.Runtime.TimeProvider.GetTimestamp();
        var exposure = await ExposureSurvey.TakeAsync(session, selection, compromised, reason, by, isDryRun: false, cancellationToken).ConfigureAwait(false);
        if (options.OnExposure is { } tell)
        {
            await tell(exposure, cancellationToken).ConfigureAwait(false);
        }

        var reencryption = await keys.ReencryptAsync(options.Reencryption, progress, cancellationToken).ConfigureAwait(false);

        // Savers that were under way, and processes with an older configuration, may have added keys of the selection meanwhile.
        var meant = selection.After(compromised.Covered);
        var late = await session.Ring.FindAsync(meant, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        if (late.Covered.Any(e => KeyResolver.Compromise(e, reason, by, session.Runtime.TimeProvider.GetUtcNow()) is not null))
        {
            late = await session.Ring.CompromiseAsync(meant, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
            seen = session.Runtime.TimeProvider.GetTimestamp();
        }

        var open = late.Covered.Where(e => e.State is not (KeyState.Revoked or KeyState.Destroyed or KeyState.PendingDestruction)).ToList();
        if (open.Count == 0)
        {
            return new CompromiseReport(exposure, reencryption, 0, [], null);
        }

        if (await NotReachedAsync(open, seen, cancellationToken).ConfigureAwait(false) is { } notReached)
        {
            return new CompromiseReport(exposure, reencryption, 0, [.. open.Select(e => e.Id)], notReached);
        }

        var census = await CensusTaker.TakeAsync(session, e => e.State == KeyState.Compromised, cancellationToken).ConfigureAwait(false);
        if (census.NotAllBecause is { } notAll)
        {
            return new CompromiseReport(exposure, reencryption, 0, [.. open.Select(e => e.Id)], notAll);
        }

        var named = open.Where(census.MayName).ToList();
        var keptKeks = named.Select(e => e.KekId).OfType<Guid>().ToHashSet();
        var free = open.Where(e => !census.MayName(e) && !keptKeks.Contains(e.Id)).ToList();
        var revoked = await session.Ring.RevokeAsync(free, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var kept = open.Except(free).ToList();
        var cells = named.Sum(e => census.CountOf(e.Id));
        return new CompromiseReport(
            exposure, reencryption, revoked.Count, [.. kept.Select(e => e.Id)],
            kept.Count == 0 ? null : $"{cells} cell(s) still name {named.Count} of the keys{(reencryption.Quarantined > 0 ? $", {reencryption.Quarantined} of them in quarantine" : "")}: they open on until these are re-encrypted");
    }

    private async Task<string?> NotReachedAsync(List<KeyRingEntry> open, long seen, CancellationToken cancellationToken)
        => options.Reencryption.CutOffTimeout == TimeSpan.Zero
            ? "the cut-off was not waited for (CutOffTimeout is zero)"
            : await CutOff.WaitAsync(session, open.Max(e => e.StateChangedAt ?? e.CreatedAt), seen, options.Reencryption.CutOffTimeout, cancellationToken).ConfigureAwait(false);
}
