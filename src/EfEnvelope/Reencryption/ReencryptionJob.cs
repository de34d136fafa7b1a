using System.Text.Json;
using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Re-encrypts every row that names a stale key: plans units, lets workers work them off, repeats until nothing is left but quarantine, waits for the cut-off, and counts. Resumable: a second run takes up the
/// units of the first. Goes through no DbSet: the application's interceptors, filters and time stamps are not touched.
/// </summary>
internal sealed class ReencryptionJob(EnvelopeSession session, ReencryptionOptions options, IProgress<ReencryptionProgress>? progress)
{
    private const int MaxPasses = 20;

    public async Task<ReencryptionReport> RunAsync(CancellationToken cancellationToken)
    {
        options.Validate();
        var time = session.Runtime.TimeProvider;
        var ring = await session.Ring.ListAsync(includeRowKeys: true, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var now = await CensusTaker.TakeAsync(session, cancellationToken).ConfigureAwait(false);
        var retired = StaleKeys.Of(ring);
        var stale = retired.NamedBy(now);
        if (stale.Entries.Count == 0)
        {
            return new ReencryptionReport(Guid.Empty, [], 0, 0, 0, TimeSpan.Zero, now, IsProven: now.StaleCells == 0, now.StaleCells == 0 ? null : "cells name keys that are revoked");
        }

        var source = RingStoreFactory.Connect(session.Context, null);
        if (source.IsTransient)
        {
            throw new EnvelopeConfigurationException("The re-encryption job commits batch by batch and cannot run inside a transaction. Run it with a context of its own.");
        }

        var tables = EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>());
        var keyless = tables.Where(t => t.Key.Count == 0).Select(t => t.Name).ToList();
        var jobs = new JobStore(session);
        var quarantined = new HashSet<string>(StringComparer.Ordinal);
        var jobId = Guid.Empty;
        ProgressMeter? meter = null;
        EnvelopeCensus census;
        string? notProven = null;
        for (var pass = 0; ; pass++)
        {
            // Keys are taken in groups: a statement names at most so many, and compromised ones come first.
            foreach (var group in stale.Entries.Select(e => e.Id).Chunk(200))
            {
                var scans = tables.Where(t => t.Key.Count > 0).ToDictionary(t => t.Name, t => new TableScan(t, group), StringComparer.Ordinal);
                (jobId, var toDo) = await PrepareAsync(source, jobs, scans.Values, group, pass > 0, cancellationToken).ConfigureAwait(false);
                meter ??= new ProgressMeter(toDo, options, time, progress);
                await options.ReachAsync(JobStep.Planned).ConfigureAwait(false);
                if (toDo > 0)
                {
                    await WorkAsync(source, jobs, jobId, scans, stale, quarantined, meter, cancellationToken).ConfigureAwait(false);
                }

                await FinishJobAsync(source, jobs, jobId, meter, cancellationToken).ConfigureAwait(false);
            }

            await options.ReachAsync(JobStep.Worked).ConfigureAwait(false);
            if (notProven is null && options.CutOffTimeout > TimeSpan.Zero && pass == 0)
            {
                notProven = await CutOff.WaitAsync(session, stale.LastChange, options.CutOffTimeout, cancellationToken).ConfigureAwait(false);
            }

            await options.ReachAsync(JobStep.CutOff).ConfigureAwait(false);
            census = await CensusTaker.TakeAsync(session, cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.Counted).ConfigureAwait(false);
            var left = retired.Entries.Sum(e => census.CountOf(e.Id));
            if (left <= quarantined.Count || pass >= MaxPasses)
            {
                notProven ??= left > 0 ? $"{left} cell(s) still name stale keys, {quarantined.Count} of them in quarantine" : null;
                break;
            }
        }

        notProven ??= options.CutOffTimeout == TimeSpan.Zero ? "the cut-off was not waited for (CutOffTimeout is zero)" : null;
        notProven ??= keyless.Count > 0 ? $"table(s) without a primary key were left out: {string.Join(", ", keyless)}" : null;
        return new ReencryptionReport(
            jobId, [.. stale.Entries.Select(e => e.Id)], meter!.Rows, meter.Conflicts, quarantined.Count, meter.Elapsed, census, notProven is null, notProven);
    }

    private async Task<(Guid JobId, long ToDo)> PrepareAsync(
        RingConnection source, JobStore jobs, IReadOnlyCollection<TableScan> scans, Guid[] keys, bool nextPass, CancellationToken cancellationToken)
    {
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            long toDo = 0;
            var units = new List<JobUnit>();
            foreach (var scan in scans)
            {
                var stale = await scan.CountStaleAsync(lease.Connection, cancellationToken).ConfigureAwait(false);
                if (stale == 0)
                {
                    continue;
                }

                toDo += stale;
                await PlanAsync(lease.Connection, scan, units, cancellationToken).ConfigureAwait(false);
            }

            // A job that a killed process left behind is taken up: its units keep their checkpoints. The next pass plans anew, because rows may have moved.
            if (!nextPass && await jobs.FindUnfinishedAsync(lease.Connection, cancellationToken).ConfigureAwait(false) is { } unfinished)
            {
                return (unfinished, toDo);
            }

            var jobId = Guid.NewGuid();
            await jobs.CreateAsync(lease.Connection, jobId, JsonSerializer.Serialize(new { keys, options.BatchSize, options.UnitSize }), units, cancellationToken).ConfigureAwait(false);
            return (jobId, toDo);
        }
    }

    private async Task PlanAsync(System.Data.Common.DbConnection connection, TableScan scan, List<JobUnit> units, CancellationToken cancellationToken)
    {
        object[]? low = null;
        for (var n = 1L; ; n++)
        {
            var high = await scan.KeyAtAsync(connection, n * options.UnitSize, cancellationToken).ConfigureAwait(false);
            units.Add(new JobUnit(units.Count, scan.Table.Name, TableScan.Serialize(low), TableScan.Serialize(high), null, 0));
            if (high is null)
            {
                return;
            }

            low = high;
        }
    }

    private async Task WorkAsync(
        RingConnection source, JobStore jobs, Guid jobId, Dictionary<string, TableScan> scans, StaleKeys stale, HashSet<string> quarantined, ProgressMeter meter, CancellationToken cancellationToken)
    {
        var count = source.IsCallers || session.Context.Database.GetDbConnection() is not Npgsql.NpgsqlConnection ? 1 : options.DegreeOfParallelism;
        var workers = Enumerable.Range(0, count).Select(n => Task.Run(
            () => new UnitWorker(session, jobs, jobId, $"{Environment.MachineName}/{Environment.ProcessId}/{n}", scans, stale, quarantined, options, meter).RunAsync(source, cancellationToken), cancellationToken));
        await Task.WhenAll(workers).ConfigureAwait(false);
        await WaitForOthersAsync(source, jobs, jobId, scans, stale, quarantined, meter, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Other processes may still hold units; if one of them dies, its unit is taken over when its lease is over.</summary>
    private async Task WaitForOthersAsync(
        RingConnection source, JobStore jobs, Guid jobId, Dictionary<string, TableScan> scans, StaleKeys stale, HashSet<string> quarantined, ProgressMeter meter, CancellationToken cancellationToken)
    {
        while (true)
        {
            var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (lease.ConfigureAwait(false))
            {
                if (await jobs.IsDoneAsync(lease.Connection, jobId, cancellationToken).ConfigureAwait(false))
                {
                    return;
                }
            }

            await Task.Delay(TimeSpan.FromMilliseconds(500), session.Runtime.TimeProvider, cancellationToken).ConfigureAwait(false);
            await new UnitWorker(session, jobs, jobId, $"{Environment.MachineName}/{Environment.ProcessId}/w", scans, stale, quarantined, options, meter).RunAsync(source, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task FinishJobAsync(RingConnection source, JobStore jobs, Guid jobId, ProgressMeter meter, CancellationToken cancellationToken)
    {
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            await jobs.FinishAsync(lease.Connection, jobId, JsonSerializer.Serialize(new { meter.Rows, meter.Conflicts, meter.Quarantined }), cancellationToken).ConfigureAwait(false);
        }
    }
}
