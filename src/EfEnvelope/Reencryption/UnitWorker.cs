using System.Data;
using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Works off units: reads a batch of stale rows, opens and seals them, writes them by compare-and-set, and commits the checkpoint with them. The application's write always wins; the row
/// is then visited by the next pass. A cell that does not open, or that the database refuses to have rewritten, goes to quarantine, cells whose key cannot be used are passed over together, and the job goes on.
/// </summary>
internal sealed class UnitWorker(
    EnvelopeSession session, JobStore jobs, QuarantineStore quarantine, BatchResealer resealer, BlockedKeys blocked, Guid jobId, string owner, IReadOnlyDictionary<string, TableScan> scans, Guid runId, ReencryptionOptions options, ProgressMeter meter, JobThrottle throttle)
{
    /// <summary>Claims units until there is none left to claim.</summary>
    public async Task RunAsync(RingConnection source, CancellationToken cancellationToken)
    {
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            await throttle.WaitForWindowAsync(cancellationToken).ConfigureAwait(false);
            while (await jobs.ClaimAsync(lease.Connection, jobId, owner, options.UnitLease, cancellationToken).ConfigureAwait(false) is { } unit)
            {
                await options.ReachAsync(JobStep.Claimed).ConfigureAwait(false);
                try
                {
                    await RunUnitAsync(source, lease.Connection, unit, cancellationToken).ConfigureAwait(false);
                }
                catch
                {
                    await GiveBackAsync(source, lease.Connection, unit).ConfigureAwait(false);
                    throw;
                }

                await throttle.WaitForWindowAsync(cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Who stops in order, or fails, makes nobody wait for the end of its lease: whoever put right what was wrong runs the job again at once. Some errors of a server that goes on - a full disk - cost the connection.
    /// </summary>
    private async Task GiveBackAsync(RingConnection source, DbConnection connection, JobUnit unit)
    {
        try
        {
            if (connection.State == ConnectionState.Open)
            {
                await jobs.GiveBackAsync(connection, jobId, unit, CancellationToken.None).ConfigureAwait(false);
                return;
            }

            var another = await source.OpenAsync(CancellationToken.None).ConfigureAwait(false);
            await using (another.ConfigureAwait(false))
            {
                await jobs.GiveBackAsync(another.Connection, jobId, unit, CancellationToken.None).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is DbException or InvalidOperationException or IOException || connection.State != ConnectionState.Open)
        {
            // The database is away, and what the worker failed with is what counts: the lease ends by itself.
        }
    }

    private async Task RunUnitAsync(RingConnection source, DbConnection connection, JobUnit unit, CancellationToken cancellationToken)
    {
        var scan = scans[unit.Table];
        var low = scan.Deserialize(unit.LowKey);
        var high = scan.Deserialize(unit.HighKey);
        var after = scan.Deserialize(unit.Checkpoint);
        RangeReader? range = null;
        var writer = RowWriter.For(scan.Table, connection);
        using var grace = new BatchGrace(options.StopGrace, session.Runtime.TimeProvider, cancellationToken);
        var heartbeat = new UnitHeartbeat(source, jobs, jobId, unit, options.UnitLease, session.Runtime.TimeProvider);
        try
        {
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!throttle.IsOpen)
                {
                    await GiveBackAsync(source, connection, unit).ConfigureAwait(false);
                    return;
                }

                await throttle.WaitForReplicasAsync(connection, cancellationToken).ConfigureAwait(false);
                if (range is { MovesOn: true })
                {
                    range.MoveTo(after!);
                }
                else
                {
                    await DisposeAsync(range).ConfigureAwait(false);
                    range = await scan.OpenRangeAsync(connection, low, high, after, options.BatchSize, cancellationToken).ConfigureAwait(false);
                }

                var batch = await resealer.SelectAsync(scan, await range.ReadAsync(cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
                after = batch.Last ?? after;
                if (!await RunBatchAsync(connection, scan, writer, unit, batch, after, cancellationToken, grace.Token).ConfigureAwait(false) || batch.IsLast)
                {
                    return;
                }
            }
        }
        finally
        {
            await heartbeat.DisposeAsync().ConfigureAwait(false);
            await writer.DisposeAsync().ConfigureAwait(false);
            await DisposeAsync(range).ConfigureAwait(false);
        }
    }

    private static ValueTask DisposeAsync(RangeReader? range) => range?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>
    /// Opens and seals a batch's rows and commits them with the checkpoint; false when the unit belongs to another worker by now. Once its transaction has begun, a stop no longer breaks it off, only the other token does. A batch that the
    /// database refuses is halved, down to the row that it refuses by itself, which goes to quarantine.
    /// </summary>
    private async Task<bool> RunBatchAsync(
        DbConnection connection, TableScan scan, RowWriter writer, JobUnit unit, ScannedBatch batch, object[]? after, CancellationToken stop, CancellationToken cancellationToken, string? refusal = null)
    {
        string reason;
        while (true)
        {
            try
            {
                if (await TryBatchAsync(connection, scan, writer, unit, batch, after, refusal, stop, cancellationToken).ConfigureAwait(false) is { } isOurs)
                {
                    return isOurs;
                }
            }
            catch (DbException error) when (refusal is null && batch.Rows.Count > 0 && JobFaults.FindRefusal(error) is { } refused)
            {
                reason = refused;
                break;
            }

            stop.ThrowIfCancellationRequested();
        }

        if (batch.Rows.Count == 1)
        {
            return await RunBatchAsync(connection, scan, writer, unit, batch, after, stop, cancellationToken, reason).ConfigureAwait(false);
        }

        var half = batch.Rows.Count / 2;
        var first = new ScannedBatch(batch.Rows[..half], batch.Rows[half - 1].Key, IsLast: false);
        if (!await RunBatchAsync(connection, scan, writer, unit, first, first.Last, stop, cancellationToken).ConfigureAwait(false))
        {
            return false;
        }

        stop.ThrowIfCancellationRequested();
        return await RunBatchAsync(connection, scan, writer, unit, batch with { Rows = batch.Rows[half..] }, after, stop, cancellationToken).ConfigureAwait(false);
    }

    /// <param name="connection">The worker's connection.</param>
    /// <param name="scan">The table.</param>
    /// <param name="writer">Writes to it.</param>
    /// <param name="unit">The unit that the batch is of.</param>
    /// <param name="batch">The rows.</param>
    /// <param name="after">The checkpoint behind them.</param>
    /// <param name="refusal">Why the database does not take the rows, which are listed then instead of being written; null where that was not seen.</param>
    /// <param name="stop">A stop of the job.</param>
    /// <param name="cancellationToken">What breaks the transaction off.</param>
    /// <returns>Null when a key that took over was retired before the batch had reached the server: nothing was written, and the batch is sealed again with what follows.</returns>
    private async Task<bool?> TryBatchAsync(
        DbConnection connection, TableScan scan, RowWriter writer, JobUnit unit, ScannedBatch batch, object[]? after, string? refusal, CancellationToken stop, CancellationToken cancellationToken)
    {
        // Read, and keys made, before the batch's transaction begins: compare-and-set makes that safe, and the ring writes on a connection of its own (SQLite has one writer).
        await options.ReachAsync(JobStep.Read).ConfigureAwait(false);
        using var pins = new KeyPins();
        using var lease = new SealingLease(session.Ring, isOfTransaction: false);
        var keys = await resealer.LoadKeysAsync(scan.Table, batch.Rows, pins, lease, stop).ConfigureAwait(false);
        await options.ReachAsync(JobStep.KeysLoaded).ConfigureAwait(false);
        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            var (changes, poisoned, passedOver) = Reseal(scan.Table, batch.Rows, keys);
            if (refusal is not null)
            {
                poisoned.AddRange(changes.SelectMany(change => Refused(scan.Table, change, refusal)));
                changes.Clear();
            }

            var newly = await quarantine.AddAsync(connection, transaction, jobId, runId, poisoned, cancellationToken).ConfigureAwait(false);
            var written = await writer.WriteAsync(transaction, changes, cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.Written).ConfigureAwait(false);
            if (written > 0 && await lease.FindRetiredAsync(session.OpenStore(connection, transaction), cancellationToken).ConfigureAwait(false) is not null)
            {
                await transaction.RollbackAsync(cancellationToken).ConfigureAwait(false);
                return null;
            }

            if (!await jobs.CheckpointAsync(connection, transaction, jobId, unit, TableScan.Serialize(after), batch.IsLast, options.UnitLease, written, changes.Count - written, newly, cancellationToken).ConfigureAwait(false))
            {
                // The lease was over and another worker has the unit: it does this batch again.
                await transaction.RollbackAsync(cancellationToken).ConfigureAwait(false);
                return false;
            }

            await options.ReachAsync(JobStep.Checkpointed).ConfigureAwait(false);
            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
            await options.ReachAsync(JobStep.Committed).ConfigureAwait(false);
            await meter.BatchAsync(unit.Table, written, changes.Count - written, newly, passedOver, blocked.Count, stop).ConfigureAwait(false);
            return true;
        }
    }

    /// <summary>The cells that a row was to be written with.</summary>
    private IEnumerable<PoisonedCell> Refused(EncryptedTable table, RowChange change, string reason)
        => Enumerable.Range(0, table.Columns.Count).Where(i => change.Replacement[i] is not null)
            .Select(i => new PoisonedCell(table.Place, table.Columns[i].Name, TableScan.Serialize(change.Row.Key)!, resealer.ListedKey(table.Columns[i], change.Row.Cells[i]!), reason));

    /// <returns>What is to be written, what does not open, and how many rows are only passed over.</returns>
    private (List<RowChange> Changes, List<PoisonedCell> Poisoned, long PassedOver) Reseal(EncryptedTable table, List<ScannedRow> rows, BatchKeys keys)
    {
        var poisoned = new List<PoisonedCell>();
        var changes = new List<RowChange>(rows.Count);
        long passedOver = 0;
        foreach (var row in rows)
        {
            var replacement = new object?[row.Cells.Length];
            var (any, before) = (false, poisoned.Count);
            for (var i = 0; i < row.Cells.Length; i++)
            {
                try
                {
                    replacement[i] = resealer.Reseal(table, i, row, keys);
                    any |= replacement[i] is not null;
                }
                catch (EnvelopeEncryptionException error) when (error is not KeyUnavailableException)
                {
                    var column = table.Columns[i];
                    poisoned.Add(new PoisonedCell(table.Place, column.Name, TableScan.Serialize(row.Key)!, resealer.ListedKey(column, row.Cells[i]!), error.GetType().Name));
                }
            }

            if (any)
            {
                changes.Add(new RowChange(row, replacement));
            }
            else if (poisoned.Count == before)
            {
                passedOver++;
            }
        }

        return (changes, poisoned, passedOver);
    }
}
