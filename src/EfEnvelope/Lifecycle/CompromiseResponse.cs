using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;

namespace EfEnvelope.Lifecycle;

/// <summary>
/// The response to a compromise, in the order that leaves the least to an attacker at every moment: stop sealing, new keys, say what is exposed, re-encrypt, refuse. Each step is committed by itself and may be repeated.
/// </summary>
internal sealed class CompromiseResponse(EnvelopeSession session, EnvelopeKeys keys, CompromiseOptions options)
{
    private const string Marked = "The selected keys are marked compromised and seal no more; the rest of the response was not done.";

    public async Task<CompromiseReport> RunAsync(KeySelection selection, string reason, IProgress<ReencryptionProgress>? progress, CancellationToken cancellationToken)
    {
        options.Reencryption.Validate();
        var by = options.ReportedBy ?? Environment.UserName;
        var (compromised, _) = await session.Ring.CompromiseAsync(selection, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        try
        {
            return await RespondAsync(selection, compromised, reason, by, progress, cancellationToken).ConfigureAwait(false);
        }
        catch (EnvelopeConfigurationException error)
        {
            throw new EnvelopeConfigurationException($"{Marked} {error.Message}", error.InnerException);
        }
        catch (KeyUnavailableException error)
        {
            throw new KeyUnavailableException($"{Marked} {error.Message}", error.InnerException) { KeyId = error.KeyId };
        }
        catch (DbException error)
        {
            throw new KeyUnavailableException($"{Marked} The database failed ({(error.SqlState is { } state ? $"SQLSTATE {state}" : error.GetType().Name)}). Repeat the command when that is put right: it takes up where this one ended.", error);
        }
    }

    private async Task<CompromiseReport> RespondAsync(
        KeySelection selection, SelectedKeys compromised, string reason, string by, IProgress<ReencryptionProgress>? progress, CancellationToken cancellationToken)
    {
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
        seen = late.IsWithin(compromised) ? seen : session.Runtime.TimeProvider.GetTimestamp();
        if (late.Covered.Any(e => KeyResolver.Compromise(e, reason, by, session.Runtime.TimeProvider.GetUtcNow()) is not null) || late.RowKeys.Any(k => k.State is KeyState.PreActive or KeyState.Active or KeyState.Deactivated))
        {
            (late, _) = await session.Ring.CompromiseAsync(meant, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
            seen = session.Runtime.TimeProvider.GetTimestamp();
        }

        if (!late.HasOpen)
        {
            // Nothing is left to refuse: what the job counted at its end tells whether the keys are out of use.
            return new CompromiseReport(exposure, reencryption, 0, [], reencryption.Completion.CutOff.NotReachedBecause ?? reencryption.Census.NotAllBecause ?? StillNamed(late, reencryption.Census));
        }

        if (await NotReachedAsync(seen, cancellationToken).ConfigureAwait(false) is { } notReached)
        {
            return NotRevoked(notReached);
        }

        var census = await CensusTaker.TakeAsync(session, e => SelectedKeys.IsOpen(e.State) && (late.Meaning.CoversRowKey(e) || late.Covered.Any(c => c.Id == e.Id)), cancellationToken).ConfigureAwait(false);
        return census.NotAllBecause is { } notAll ? NotRevoked(notAll) : await RevokeAsync(late, census, exposure, reencryption, reason, by, cancellationToken).ConfigureAwait(false);

        CompromiseReport NotRevoked(string because)
            => new(exposure, reencryption, 0, [.. late.Covered.Where(e => SelectedKeys.IsOpen(e.State)).Select(e => e.Id), .. late.OpenRowKeys], because)
            {
                OpenTotal = late.Covered.Count(e => SelectedKeys.IsOpen(e.State)) + late.RowKeys.Where(k => SelectedKeys.IsOpen(k.State)).Sum(k => k.Keys),
            };
    }

    /// <summary>Ends opening with what no cell names. A kek is kept with the row keys under it that cells name.</summary>
    private async Task<CompromiseReport> RevokeAsync(
        SelectedKeys late, EnvelopeCensus census, ExposureReport exposure, ReencryptionReport reencryption, string reason, string by, CancellationToken cancellationToken)
    {
        // Row keys that are scheduled may still be taken back, and need their kek then.
        var keptKeks = census.Entries.Where(e => e is { KekId: not null, State: not (KeyState.Revoked or KeyState.Destroyed) }).Select(e => e.KekId!.Value).ToHashSet();
        var open = late.Covered.Where(e => SelectedKeys.IsOpen(e.State)).ToList();
        var kept = open.Where(e => census.MayName(e) || keptKeks.Contains(e.Id)).ToList();
        var keptRowKeys = new ChangedEntries();
        var named = kept.Count(census.MayName);
        var revoked = await session.Ring.RevokeAsync(
            [.. open.Except(kept)], late.RowKeys.Count > 0 ? late.Meaning.RowKeys : null, IsUnused, reason, by, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var cells = kept.Sum(e => census.CountOf(e.Id)) + (keptRowKeys.RowKeys <= ChangedEntries.MaxRowKeys ? keptRowKeys.Listed.Sum(e => census.CountOf(e.Id)) : kept.Sum(e => census.CountUnder(e.Id)));
        var because = kept.Count == 0 && keptRowKeys.Count == 0 ? StillNamed(late, census)
            : $"{cells} cell(s) still name {named + keptRowKeys.Count} of the keys{(reencryption.Quarantined > 0 ? $", {reencryption.Quarantined} of them in quarantine" : "")}{(reencryption.Blocked.Count > 0 ? $", {reencryption.Blocked.Sum(k => k.Cells)} of them passed over because a key cannot be used" : "")}: they open on until these are re-encrypted";
        return new CompromiseReport(exposure, reencryption, revoked.Count, [.. kept.Concat(keptRowKeys.Listed).Select(e => e.Id)], because) { OpenTotal = kept.Count + keptRowKeys.Count };

        bool IsUnused(KeyRingEntry rowKey)
        {
            if (!late.Meaning.CoversRowKey(rowKey) || !SelectedKeys.IsOpen(rowKey.State))
            {
                return false;
            }

            if (census.MayNameSince(rowKey))
            {
                keptRowKeys.Add(rowKey);
                return false;
            }

            return true;
        }
    }

    /// <summary>
    /// Whether cells name selected keys that are refused already, which a job cannot move therefore: they came back with a backup, or were planted. Row keys are told by kek and state. Null where none does; what is destroyed is meant to
    /// be named.
    /// </summary>
    private static string? StillNamed(SelectedKeys selected, EnvelopeCensus census)
    {
        var scopes = selected.Covered.Where(e => e.KekId is null && IsRefused(e.State) && census.CountOf(e.Id) > 0).ToList();
        var rowKeys = census.Entries.Where(e => e is { KekId: not null, State: { } state } && IsRefused(state) && IsSelected(e)).ToList();
        var cells = scopes.Sum(e => census.CountOf(e.Id)) + rowKeys.Sum(e => e.Cells);
        return cells == 0 ? null
            : $"{cells} cell(s) name {scopes.Count + rowKeys.GroupBy(e => (e.KekId, e.State)).Sum(g => g.Max(e => e.Keys))} of the keys that are revoked or scheduled for destruction: these cells do not open, and cannot be re-encrypted. Cancel the destruction (`cancel-destruction`), or remove the cells";

        bool IsSelected(CensusEntry e)
            => selected.RowKeys.Any(k => k.KekId == e.KekId && k.State == e.State) || selected.Covered.Any(k => k.KekId == e.KekId && k.State == e.State && (e.KeyId is null || e.KeyId == k.Id));

        static bool IsRefused(KeyState state) => state is KeyState.Revoked or KeyState.PendingDestruction;
    }

    private async Task<string?> NotReachedAsync(long seen, CancellationToken cancellationToken)
        => options.Reencryption.CutOffTimeout == TimeSpan.Zero
            ? "the cut-off was not waited for (CutOffTimeout is zero)"
            : await CutOff.WaitAsync(session, seen, options.Reencryption.CutOffTimeout, cancellationToken).ConfigureAwait(false);
}
