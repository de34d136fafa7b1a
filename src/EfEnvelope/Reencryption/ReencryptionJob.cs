using System.Text.Json;
using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Proof;
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

    /// <summary>Passes that leave as much as there was.</summary>
    private const int MaxPassesInVain = 4;
    private const int MaxAttempts = 7;

    private readonly BlockedKeys _blocked = new();
    private readonly TreatedKeys _treated = new();
    private readonly HashSet<Guid> _jobIds = [];

    /// <summary>Names this run, and no other of the same process: what it lost hold of it may take back at once.</summary>
    private readonly string _owner = $"{Environment.MachineName}/{Environment.ProcessId}/{Guid.NewGuid().ToString("N")[..8]}";

    private readonly Guid _runId = Guid.NewGuid();

    private readonly JobThrottle _throttle = new(options, session.Runtime.TimeProvider);

    private ProgressMeter? _meter;
    private Guid _jobId;

    /// <summary>The jobs, finished ones too, that were recorded when this run began: cells that somebody else tried in one of these may open by now.</summary>
    private HashSet<Guid>? _former;

    /// <summary>Runs, and begins again after a deadlock, a lost connection or a server that restarts: what was committed stands, the units are taken up.</summary>
    public async Task<ReencryptionReport> RunAsync(CancellationToken cancellationToken)
    {
        options.Validate();
        long done = -1;
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return await RunOnceAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (System.Data.Common.DbException error) when (TableErrors.Explain(error) is { } explained)
            {
                throw explained;
            }
            catch (Exception error) when (attempt < MaxAttempts && !cancellationToken.IsCancellationRequested && JobFaults.IsTransient(error))
            {
                if (_meter is { } meter && meter.Rows != done)
                {
                    (done, attempt) = (meter.Rows, 0);
                }

                await Task.Delay(TimeSpan.FromMilliseconds(200 << attempt), session.Runtime.TimeProvider, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<ReencryptionReport> RunOnceAsync(CancellationToken cancellationToken)
    {
        var time = session.Runtime.TimeProvider;
        var source = RingStoreFactory.Connect(session.Context, null, options.DegreeOfParallelism);
        if (source.IsTransient)
        {
            throw new EnvelopeConfigurationException("The re-encryption job commits batch by batch and cannot run inside a transaction. Run it with a context of its own.");
        }

        // So that the census of every other context over this database knows of this one's columns, and of a context that only reads.
        await ColumnRegistry.EnsureRegisteredAsync(session, session.OpenStore(), null, cancellationToken).ConfigureAwait(false);
        var (retired, all, _, _) = await ListRetiredAsync(cancellationToken).ConfigureAwait(false);
        var seen = time.GetTimestamp();
        var census = await CensusTaker.TakeAsync(session, null, cancellationToken).ConfigureAwait(false);
        var tables = await EncryptedTable.PlacedAsync(session, cancellationToken).ConfigureAwait(false);
        var reachable = tables.Where(t => t.Key.Count > 0).SelectMany(t => t.Columns.Select(c => (t.Name, c.Name))).ToHashSet();
        var jobs = new JobStore(session);
        var former = _former ??= await OnAsync(source, connection => jobs.ListAsync(connection, cancellationToken), cancellationToken).ConfigureAwait(false);
        await OnAsync(source, connection => new QuarantineStore(session).AdoptAsync(connection, cancellationToken), cancellationToken).ConfigureAwait(false);
        _meter ??= new ProgressMeter(RowsOf(retired, census), options, time, progress);
        var (least, inVain) = (long.MaxValue, 0);
        for (var pass = 0; ; pass++)
        {
            await WorkAsync(source, jobs, tables, retired.NamedBy(census), census, cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.Worked).ConfigureAwait(false);
            var cutOff = await CutOff.ReachAsync(session, all, seen, options.CutOffTimeout, cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.CutOff).ConfigureAwait(false);
            census = await CensusTaker.TakeAsync(session, null, cancellationToken).ConfigureAwait(false);

            // Whoever held a retired kek may have made row keys with it until its lease was over; and what was retired since the cut-off has one of its own.
            var listed = await ListRetiredAsync(cancellationToken).ConfigureAwait(false);
            var isSettled = listed.All.IsWithin(all);
            (retired, all, seen) = (listed.Treatable, listed.All, isSettled ? seen : time.GetTimestamp());
            await options.ReachAsync(JobStep.Counted).ConfigureAwait(false);

            // Entries that the application healed, or whose row is gone, leave the list by themselves. Whoever tried a cell in a job that was recorded since this run began tried it in vain for this run too: else runs beside each other,
            // each of which lists the other's cells anew, would never come to an end.
            var known = await OnAsync(source, connection => jobs.ListAsync(connection, cancellationToken), cancellationToken).ConfigureAwait(false);
            var (kept, stuck) = await new QuarantineReview(session, retired, _blocked).RunAsync((cell, run) => run == _runId || (known.Contains(cell.JobId) && !former.Contains(cell.JobId)), cancellationToken).ConfigureAwait(false);
            var left = census.Entries.Where(retired.IsStale).ToList();
            var inReach = left.Where(e => reachable.Contains((e.Table, e.Column))).Sum(e => e.Cells);
            var blocked = _blocked.CountIn(left.Where(e => reachable.Contains((e.Table, e.Column))));

            // Rows that the database neither writes nor refuses (a trigger that swallows the update) are in no list.
            (least, inVain) = !isSettled || inReach < least ? (inReach, 0) : (least, inVain + 1);
            if (((inReach > stuck + blocked.Sum(k => k.Cells) && inVain < MaxPassesInVain) || (!isSettled && cutOff.IsReached)) && pass < MaxPasses)
            {
                continue;
            }

            var notProven = inReach > 0 ? $"{inReach} cell(s) still name stale keys, {stuck} of them in quarantine{Explain(blocked)}{Swallowed(inReach - stuck - blocked.Sum(k => k.Cells), left, reachable)}"
                : cutOff.NotReachedBecause ?? (isSettled ? null : "keys are retired again and again while the job runs: it did not come to wait for the cut-off of the last");
            notProven ??= OutOfReach(left, tables, reachable);
            notProven ??= Lost(listed.Held);
            notProven ??= census.UnknownKeysBecause ?? census.NotOwnBecause;
            notProven ??= census.StaleCells > 0 ? "cells name keys that are revoked or scheduled for destruction" : null;
            return await ReportAsync(source, jobs, cutOff, census, listed.Epoch, kept, blocked, notProven, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Takes keys in groups: a statement names at most so many, and compromised ones come first.</summary>
    private async Task WorkAsync(
        RingConnection source, JobStore jobs, IReadOnlyList<EncryptedTable> tables, StaleKeys stale, EnvelopeCensus census, CancellationToken cancellationToken)
    {
        _treated.Add(stale);
        _blocked.Clear();
        _meter!.BeginPass();
        foreach (var group in stale.Groups())
        {
            var scans = tables.Where(t => t.Key.Count > 0).ToDictionary(t => t.Place, t => new TableScan(t, new StaleFilter(t, group)), StringComparer.Ordinal);
            var recorded = await PrepareAsync(source, jobs, scans.Values, census, group, cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.Planned).ConfigureAwait(false);
            if (recorded is { } id)
            {
                _jobId = id;
                _jobIds.Add(id);
                await WorkAsync(source, jobs, id, scans, group, cancellationToken).ConfigureAwait(false);
                await OnAsync(source, connection => jobs.FinishAsync(connection, id, JsonSerializer.Serialize(new { _meter!.Rows, _meter.Conflicts, _meter.Quarantined }), cancellationToken), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Rows of the ring are never deleted by EfEnvelope: of a key that is no longer in it, nobody can say which cells name it.</summary>
    private string? Lost(HashSet<Guid> held)
        => _treated.Ids.Where(id => !held.Contains(id)).ToList() is { Count: > 0 } lost
            ? $"the key ring lost key(s) that rows had to leave while the job ran: {string.Join(", ", lost.Take(10))}. Restore the ring's rows, from an export or a backup, report again what was reported of these keys since, and run the job again"
            : null;

    private static string Explain(IReadOnlyList<BlockedKey> blocked)
    {
        // Goes into logs and health checks too: whose keys they are stands in the report alone.
        var scopes = blocked.Select(k => k.Scope).Distinct(StringComparer.Ordinal).Count();
        return blocked.Count == 0 ? "" : $", {blocked.Sum(k => k.Cells)} of them passed over because keys of {scopes} scope(s) cannot be used ({string.Join(", ", blocked.Select(k => k.Reason).Distinct(StringComparer.Ordinal))}): let the key service permit, or restore the key ring's rows, and run the job again";
    }

    private static string Swallowed(long others, List<CensusEntry> left, HashSet<(string Table, string Column)> reachable)
        => others <= 0 ? "" : $". {others} were neither written nor refused: they are written anew by others, or a trigger or rule of the table keeps what was there. They stand in {string.Join(", ", left.Where(e => reachable.Contains((e.Table, e.Column))).Select(e => $"{e.Table}.{e.Column}").Distinct(StringComparer.Ordinal).Take(10))}";

    private static string? OutOfReach(List<CensusEntry> left, IReadOnlyList<EncryptedTable> tables, HashSet<(string, string)> reachable)
    {
        var known = tables.SelectMany(t => t.Columns.Select(c => (t.Name, c.Name))).ToHashSet();
        var foreign = left.Where(e => !known.Contains((e.Table, e.Column))).Select(e => $"{e.Table}.{e.Column}").Distinct().ToList();
        return foreign.Count > 0 ? $"cells that name stale keys stand in column(s) that another context over this database declares, or in a table that is like one of those (of another schema, renamed, copied or detached): {string.Join(", ", foreign)}. Run the job with that context, or with one that maps it, too; or drop it"
            : left.Count > 0 ? $"cells that name stale keys stand in table(s) without a primary key, which the job cannot write row by row: {string.Join(", ", left.Where(e => !reachable.Contains((e.Table, e.Column))).Select(e => e.Table).Distinct())}" : null;
    }

    private async Task<ReencryptionReport> ReportAsync(
        RingConnection source, JobStore jobs, CompletionCutOff cutOff, EnvelopeCensus census, long epoch, long quarantined, IReadOnlyList<BlockedKey> blocked, string? notProven, CancellationToken cancellationToken)
    {
        var meter = _meter!;
        var (jobRows, jobConflicts) = await SumAsync(source, jobs, cancellationToken).ConfigureAwait(false);
        var completion = await ProofMaker.MakeAsync(
            session,
            new CompletionFacts
            {
                Kind = CompletionKind.Reencryption, JobId = _jobId, StartedAt = meter.StartedAt, Elapsed = meter.Elapsed, StaleKeys = _treated.Scopes, StaleRowKeys = _treated.RowKeys, Rows = meter.Rows, Conflicts = meter.Conflicts,
                Quarantined = quarantined, Blocked = blocked, JobRows = jobRows, JobConflicts = jobConflicts, Batches = meter.Batches, CutOff = cutOff, Census = census, Epoch = epoch, NotProvenBecause = notProven, SampleSize = options.SampleSize,
            },
            cancellationToken).ConfigureAwait(false);
        if (completion.IsProven)
        {
            try
            {
                await OnAsync(source, connection => jobs.FinishLeftBehindAsync(connection, cancellationToken), cancellationToken).ConfigureAwait(false);
            }
            catch (Exception error) when (error is System.Data.Common.DbException or InvalidOperationException or OperationCanceledException)
            {
                // The proof is made. What is left behind is listed until the next one.
            }
        }

        return new ReencryptionReport(_jobId, _treated.Ids, meter.Rows, meter.Conflicts, quarantined, meter.Elapsed, census, completion.IsProven, completion.NotProvenBecause) { Completion = completion, Blocked = blocked };
    }

    private static async Task<T> OnAsync<T>(RingConnection source, Func<System.Data.Common.DbConnection, Task<T>> work, CancellationToken cancellationToken)
    {
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            return await work(lease.Connection).ConfigureAwait(false);
        }
    }

    private static long RowsOf(StaleKeys retired, EnvelopeCensus census)
        => census.Entries.Where(retired.IsStale).GroupBy(e => e.Table, StringComparer.Ordinal)
            .Sum(table => table.GroupBy(e => e.Column, StringComparer.Ordinal).Max(column => column.Sum(e => e.Cells)));

    /// <summary>
    /// The retired keys of the ring as it is now: those whose rows can be treated, and all of them, also those that an import took from sealing to revoked at once. This process seals with none of them from here on, however long
    /// its lease would last. All that are retired up to the epoch are among them.
    /// </summary>
    private async Task<(StaleKeys Treatable, StaleKeys All, HashSet<Guid> Held, long Epoch)> ListRetiredAsync(CancellationToken cancellationToken)
    {
        var store = session.OpenStore();
        var epoch = (await session.Ring.ConfirmAsync(store, cancellationToken).ConfigureAwait(false)).Epoch;
        var listedAt = session.Runtime.TimeProvider.GetUtcNow();
        var ring = await session.Ring.SummarizeAsync(store, cancellationToken).ConfigureAwait(false);
        return (StaleKeys.Of(ring), StaleKeys.RetiredOf(ring, listedAt), [.. ring.Scopes.Select(e => e.Id)], epoch);
    }

    private async Task<Guid?> PrepareAsync(
        RingConnection source, JobStore jobs, IReadOnlyCollection<TableScan> scans, EnvelopeCensus census, StaleKeys stale, CancellationToken cancellationToken)
    {
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            var named = census.Entries.Where(stale.IsStale).Select(e => e.Table).ToHashSet(StringComparer.Ordinal);
            var units = new List<JobUnit>();
            foreach (var scan in scans.Where(s => named.Contains(s.Table.Name)))
            {
                string? low = null;
                foreach (var boundary in await scan.FindBoundariesAsync(lease.Connection, options.UnitSize, cancellationToken).ConfigureAwait(false))
                {
                    var high = TableScan.Serialize(boundary);
                    units.Add(new JobUnit(units.Count, scan.Table.Place, low, high, null, 0));
                    low = high;
                }

                units.Add(new JobUnit(units.Count, scan.Table.Place, low, null, null, 0));
            }

            // What a killed process left behind is taken up: its units keep their checkpoints. Processes that began together work on one job.
            return await jobs.JoinOrCreateAsync(lease.Connection, JobPlan.Of(stale), scans.ToDictionary(s => s.Table.Place, s => s.Table.Shape, StringComparer.Ordinal), units, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task WorkAsync(
        RingConnection source, JobStore jobs, Guid jobId, Dictionary<string, TableScan> scans, StaleKeys stale, CancellationToken cancellationToken)
    {
        var count = source.IsCallers || session.Context.Database.GetDbConnection() is not Npgsql.NpgsqlConnection ? 1 : options.DegreeOfParallelism;
        await Task.WhenAll(Enumerable.Range(0, count).Select(n => Task.Run(() => RunWorkerAsync(source, jobs, jobId, $"{_owner}/{n}", scans, stale, cancellationToken), cancellationToken))).ConfigureAwait(false);
        await WaitForOthersAsync(source, jobs, jobId, scans, stale, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Other processes may still hold units; if one of them dies, its unit is taken over when its lease is over.</summary>
    private async Task WaitForOthersAsync(
        RingConnection source, JobStore jobs, Guid jobId, Dictionary<string, TableScan> scans, StaleKeys stale, CancellationToken cancellationToken)
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
            await RunWorkerAsync(source, jobs, jobId, $"{_owner}/w", scans, stale, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task RunWorkerAsync(
        RingConnection source, JobStore jobs, Guid jobId, string owner, Dictionary<string, TableScan> scans, StaleKeys stale, CancellationToken cancellationToken)
    {
        using var resealer = new BatchResealer(session, new StaleLookup(session, stale), _blocked);
        await new UnitWorker(session, jobs, new QuarantineStore(session), resealer, _blocked, jobId, owner, scans, _runId, options, _meter!, _throttle).RunAsync(source, cancellationToken).ConfigureAwait(false);
    }

    private Task<(long Rows, long Conflicts)> SumAsync(RingConnection source, JobStore jobs, CancellationToken cancellationToken)
        => OnAsync(
            source,
            async connection =>
            {
                long rows = 0, conflicts = 0;
                foreach (var id in _jobIds)
                {
                    var sum = await jobs.SumAsync(connection, id, cancellationToken).ConfigureAwait(false);
                    (rows, conflicts) = (rows + sum.Rows, conflicts + sum.Conflicts);
                }

                return (rows, conflicts);
            },
            cancellationToken);
}
