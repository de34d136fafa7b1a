using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>Tries quarantined cells again, one by one, where they stand: moves those that open, takes those off the list that no longer name a stale key, and keeps the rest.</summary>
internal sealed class QuarantineRetry(EnvelopeSession session, StaleKeys stale)
{
    private readonly QuarantineStore _store = new(session);
    private Dictionary<string, EncryptedTable> _tables = [];

    public async Task<QuarantineRetryReport> RunAsync(IReadOnlyCollection<Guid>? ids, CancellationToken cancellationToken)
    {
        var source = RingStoreFactory.Connect(session.Context, null);
        if (source.IsTransient)
        {
            throw new EnvelopeConfigurationException("Quarantined cells cannot be tried again inside a transaction. Use a context of its own. Nothing was changed.");
        }

        _tables = (await EncryptedTable.PlacedAsync(session, cancellationToken).ConfigureAwait(false)).ToDictionary(t => t.Place, StringComparer.Ordinal);
        var lookup = new StaleLookup(session, stale);
        using var resealer = new BatchResealer(session, lookup, new BlockedKeys());
        var lease = await source.OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            int moved = 0, gone = 0;
            var kept = new List<QuarantinedCell>();
            var cells = await _store.ListAsync(lease.Connection, includeReleased: false, cancellationToken).ConfigureAwait(false);
            foreach (var cell in Choose(cells, ids))
            {
                if (Find(cell) is not var (scan, index))
                {
                    // Another context's table: its job is to look at it.
                    kept.Add(cell);
                    continue;
                }

                var row = await ReadAsync(lease.Connection, lookup, scan, cell, cancellationToken).ConfigureAwait(false);
                if (!IsStale(lookup, scan, index, row))
                {
                    await _store.RemoveAsync(lease.Connection, null, cell.Id, cancellationToken).ConfigureAwait(false);
                    gone++;
                }
                else if (await MoveAsync(lease.Connection, resealer, scan, index, row!, cell, cancellationToken).ConfigureAwait(false) is { } reason)
                {
                    kept.Add(cell with { Reason = reason });
                }
                else
                {
                    moved++;
                }
            }

            return new QuarantineRetryReport(moved, gone, kept);
        }
    }

    /// <summary>The listed cells that were named; all of them where none was.</summary>
    /// <exception cref="EnvelopeConfigurationException">One of them is not listed.</exception>
    public static IReadOnlyList<QuarantinedCell> Choose(List<QuarantinedCell> cells, IReadOnlyCollection<Guid>? ids)
        => ids is null ? cells
            : ids.Where(id => !cells.Exists(c => c.Id == id)).Select(id => (Guid?)id).FirstOrDefault() is { } unknown
                ? throw new EnvelopeConfigurationException($"Quarantine has no entry {unknown}. `quarantine list` shows them. Nothing was changed.")
                : cells.FindAll(c => ids.Contains(c.Id));

    /// <returns>Null when the cell was moved; else why not, or why only a part of it was: a document may hold envelopes under a key that cannot be used beside others.</returns>
    private async Task<string?> MoveAsync(DbConnection connection, BatchResealer resealer, TableScan scan, int index, ScannedRow row, QuarantinedCell cell, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                var (isDone, reason) = await TryMoveAsync(connection, resealer, scan, index, row, cell, cancellationToken).ConfigureAwait(false);
                if (isDone)
                {
                    return reason;
                }
            }
            catch (DbException error) when (JobFaults.FindRefusal(error) is { } refusal)
            {
                await _store.KeepAsync(connection, null, cell.Id, refusal, cancellationToken).ConfigureAwait(false);
                return refusal;
            }
        }
    }

    /// <returns>Not done when the key that took over was retired before the cell had reached the server: it is sealed again with what follows.</returns>
    private async Task<(bool IsDone, string? Reason)> TryMoveAsync(
        DbConnection connection, BatchResealer resealer, TableScan scan, int index, ScannedRow row, QuarantinedCell cell, CancellationToken cancellationToken)
    {
        var replacement = new object?[row.Cells.Length];
        string? reason = null;
        using var pins = new KeyPins();
        using var lease = new SealingLease(session.Ring, isOfTransaction: false);
        try
        {
            var keys = await resealer.LoadKeysAsync(scan.Table, [row], pins, lease, cancellationToken).ConfigureAwait(false);
            replacement[index] = resealer.Reseal(scan.Table, index, row, keys);
            reason = resealer.FindBlocked(scan.Table.Columns[index], row.Cells[index], keys)?.GetType().Name;
        }
        catch (EnvelopeEncryptionException error) when (error is not KeyUnavailableException)
        {
            reason = error.GetType().Name;
        }

        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            var writer = RowWriter.For(scan.Table, connection);
            await using (writer.ConfigureAwait(false))
            {
                if (reason is null || replacement[index] is not null)
                {
                    if (await writer.WriteAsync(transaction, [new RowChange(row, replacement)], cancellationToken).ConfigureAwait(false) == 0)
                    {
                        reason = "Conflict";
                    }
                    else if (await lease.FindRetiredAsync(session.OpenStore(connection, transaction), cancellationToken).ConfigureAwait(false) is not null)
                    {
                        await transaction.RollbackAsync(cancellationToken).ConfigureAwait(false);
                        return (false, null);
                    }
                }
            }

            await (reason is null
                ? _store.RemoveAsync(connection, transaction, cell.Id, cancellationToken)
                : _store.KeepAsync(connection, transaction, cell.Id, reason, cancellationToken)).ConfigureAwait(false);
            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
            return (true, reason);
        }
    }

    private (TableScan Scan, int Index)? Find(QuarantinedCell cell)
    {
        if (!_tables.TryGetValue(cell.Table, out var table))
        {
            return null;
        }

        for (var i = 0; i < table.Columns.Count; i++)
        {
            if (table.Columns[i].Name == cell.Column)
            {
                return (new TableScan(table, new StaleFilter(table, stale)), i);
            }
        }

        return null;
    }

    private static bool IsStale(StaleLookup lookup, TableScan scan, int index, ScannedRow? row) => row is not null && lookup.NamesStale(scan.Table.Columns[index], row.Cells[index]);

    /// <summary>The cell's row, where it names a stale key. A row that row-level security hides is not taken for one that is gone: PostgreSQL raises an error instead.</summary>
    private static async Task<ScannedRow?> ReadAsync(DbConnection connection, StaleLookup lookup, TableScan scan, QuarantinedCell cell, CancellationToken cancellationToken)
    {
        if (!scan.TryDeserialize(cell.PrimaryKey, out var key))
        {
            // The table's primary key is another one since: the job finds the row by that.
            return null;
        }

        var transaction = connection is Npgsql.NpgsqlConnection ? await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false) : null;
        try
        {
            if (transaction is not null)
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => "SET LOCAL row_security = off", cancellationToken).ConfigureAwait(false);
            }

            var range = await scan.OpenRowAsync(connection, key, cancellationToken).ConfigureAwait(false);
            await using (range.ConfigureAwait(false))
            {
                return (await lookup.SelectAsync(scan, await range.ReadAsync(cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false)).Rows.SingleOrDefault();
            }
        }
        finally
        {
            if (transaction is not null)
            {
                await transaction.DisposeAsync().ConfigureAwait(false);
            }
        }
    }
}
