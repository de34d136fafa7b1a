using System.Reflection;
using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Proof;

/// <summary>Makes completion reports and checks them.</summary>
internal static class ProofMaker
{
    private const int EnvelopeVersion = 1;

    /// <summary>Opens the sample, hashes and authenticates. Where the ring serves other databases too, it records that this one was counted; else it changes nothing.</summary>
    public static async Task<CompletionReport> MakeAsync(EnvelopeSession session, CompletionFacts facts, CancellationToken cancellationToken)
    {
        var (columns, failures) = await SampledOpening.TakeAsync(session, facts.Census, facts.SampleSize, cancellationToken).ConfigureAwait(false);
        var sampled = columns.Sum(c => c.Sampled);
        var notOwn = facts.NotProvenBecause ?? (failures.Count > 0 ? $"{failures.Count} of {sampled} sampled cell(s) did not open" : null);
        if (notOwn is null && facts.Census.IsShared)
        {
            await MarkCountedAsync(session, facts.Epoch, cancellationToken).ConfigureAwait(false);
        }

        var notProven = notOwn ?? facts.Census.OthersBecause;
        var store = session.OpenStore();
        var identity = await session.Ring.ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        var seconds = facts.Elapsed.TotalSeconds;
        var (report, authenticated) = CanonicalReport.Seal(new CompletionReport
        {
            Format = CompletionReport.CurrentFormat,
            Kind = facts.Kind,
            LibraryVersion = typeof(ProofMaker).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown",
            EnvelopeVersion = EnvelopeVersion,
            RingId = identity.Id,
            Provider = session.Context.Database.ProviderName ?? "unknown",
            Database = NameOf(session.Context.Database.GetDbConnection()),
            JobId = facts.JobId,
            StartedAt = facts.StartedAt,
            FinishedAt = session.Runtime.TimeProvider.GetUtcNow(),
            ElapsedMilliseconds = (long)facts.Elapsed.TotalMilliseconds,
            StaleKeys = Describe(facts.StaleKeys, facts.StaleRowKeys),
            Rows = facts.Rows,
            Conflicts = facts.Conflicts,
            Quarantined = facts.Quarantined,
            Blocked = facts.Blocked.Count == 0 ? null : facts.Blocked,
            JobRows = facts.JobRows,
            JobConflicts = facts.JobConflicts,
            Batches = facts.Batches,
            RowsPerSecond = seconds > 0 ? (long)Math.Round(facts.Rows / seconds, MidpointRounding.AwayFromZero) : 0,
            CutOff = facts.CutOff,
            CensusTakenAt = facts.Census.TakenAt,
            Census = Count(facts.Census),
            Sample = columns,
            SampleFailures = failures,
            IsProven = notProven is null,
            NotProvenBecause = notProven,
            Digests = new Dictionary<string, string>(StringComparer.Ordinal),
            Sha256 = "",
            Hmac = "",
        });
        return report with { Hmac = Convert.ToHexStringLower(await session.Ring.ComputeMacAsync(authenticated, store, cancellationToken).ConfigureAwait(false)) };
    }

    private static async Task MarkCountedAsync(EnvelopeSession session, long epoch, CancellationToken cancellationToken)
    {
        try
        {
            await ColumnRegistry.MarkCountedAsync(session, epoch, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is System.Data.Common.DbException or EnvelopeConfigurationException or KeyUnavailableException { InnerException: System.Data.Common.DbException { IsTransient: false } })
        {
            // A role that may not write there: the other databases go on naming this one.
        }
    }

    public static async Task<ReportVerification> VerifyAsync(EnvelopeSession session, string json, CancellationToken cancellationToken)
    {
        var check = CanonicalReport.Check(json);
        if (check.Report is not { } report)
        {
            return new ReportVerification(check.HashMatches, false, false, check.Differs, null);
        }

        var store = session.OpenStore();
        var identity = await session.Ring.ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        if (identity.Id != report.RingId)
        {
            var differs = check.Differs.Contains("ringId") ? check.Differs : [.. check.Differs, "ringId: another key ring made it"];
            return new ReportVerification(check.HashMatches, false, false, differs, null);
        }

        var mac = Convert.ToHexStringLower(await session.Ring.ComputeMacAsync(check.Authenticated, store, cancellationToken).ConfigureAwait(false));
        var macMatches = System.Security.Cryptography.CryptographicOperations.FixedTimeEquals(System.Text.Encoding.UTF8.GetBytes(mac), System.Text.Encoding.UTF8.GetBytes(check.ClaimedMac ?? ""));
        if (!macMatches && check.Differs.Count == 0)
        {
            check.Differs.Add("hmac: somebody without the ring's mac key wrote it");
        }

        return new ReportVerification(check.HashMatches, macMatches, true, check.Differs, check.HashMatches && macMatches && check.Differs.Count == 0 ? report : null);
    }

    private static string NameOf(System.Data.Common.DbConnection connection)
        => connection is Npgsql.NpgsqlConnection || connection.Database is not ("main" or "") ? connection.Database : Path.GetFileName(connection.DataSource);

    private static List<TreatedKey> Describe(IReadOnlyCollection<KeyRingEntry> keys, IReadOnlyCollection<RowKeySum> rowKeys)
    {
        var single = keys.Select(k => new TreatedKey(k.Id, k.Scope, k.State, Why(k.State), k.Reason, 1, k.CreatedAt, RetiredAt(k.State, k.StateChangedAt)));
        var together = rowKeys.GroupBy(k => (k.Parent, k.State)).Select(g => g.Aggregate((a, b) => a.Plus(b)))
            .Select(k => new TreatedKey(null, KeyScope.ForAllRows(k.Parent), k.State, Why(k.State), null, k.Keys, k.CreatedAt, RetiredAt(k.State, k.ChangedAt)));
        return [.. single.Concat(together).OrderBy(k => k.State == KeyState.Compromised ? 0 : 1).ThenBy(k => k.CreatedAt).ThenBy(k => k.Scope, StringComparer.Ordinal).ThenBy(k => k.Id)];
    }

    /// <summary>A row key that is stale only because its kek is has no time of its own.</summary>
    private static DateTimeOffset? RetiredAt(KeyState state, DateTimeOffset? changedAt) => EnvelopeCensus.IsStale(state) ? changedAt : null;

    private static string Why(KeyState state) => state switch
    {
        KeyState.Compromised => "reported compromised",
        KeyState.Deactivated => "rotated",
        KeyState.Revoked => "revoked",
        KeyState.PendingDestruction => "scheduled for destruction",
        _ => "the key that wraps it is retired",
    };

    private static List<CountedCells> Count(EnvelopeCensus census)
    {
        var single = census.Entries.Where(e => e.KekId is null).Select(e => new CountedCells(e.Table, e.Column, e.KeyId, e.Scope, e.State, e.Keys, e.Cells));
        var together = census.Entries.Where(e => e.KekId is not null).GroupBy(e => (e.Table, e.Column, Scope: KeyScope.ParentOf(e.Scope!), e.State))
            .Select(g => new CountedCells(g.Key.Table, g.Key.Column, null, KeyScope.ForAllRows(g.Key.Scope), g.Key.State, g.Sum(e => e.Keys), g.Sum(e => e.Cells)));
        return [.. single.Concat(together).OrderBy(c => c.Table, StringComparer.Ordinal).ThenBy(c => c.Column, StringComparer.Ordinal).ThenBy(c => c.Scope, StringComparer.Ordinal).ThenBy(c => c.State).ThenBy(c => c.KeyId).ThenBy(c => c.Keys)];
    }
}
