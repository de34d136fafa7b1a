using System.Data.Common;
using EfEnvelope.Census;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Looks at all quarantined cells where they stand, some hundred at a time, and takes those off the list that no longer name a stale key: the application rewrote or deleted them. Nobody holds a list of them.
/// </summary>
internal sealed class QuarantineReview(EnvelopeSession session, StaleKeys stale, BlockedKeys blocked)
{
    /// <summary>Rows that one statement reads.</summary>
    private const int ChunkSize = 100;

    private readonly QuarantineStore _store = new(session);
    private readonly StaleLookup _lookup = new(session, stale);
    private Dictionary<string, EncryptedTable> _tables = [];

    /// <param name="isTried">Whether an entry, by the run that met it last, was tried in vain just now.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>How many cells of this context's columns are left, released ones too; and how many envelopes of those that were tried name a stale key that can be used: a document may hold several.</returns>
    public async Task<(long Kept, long Stuck)> RunAsync(Func<QuarantinedCell, Guid?, bool> isTried, CancellationToken cancellationToken)
    {
        _tables = (await EncryptedTable.PlacedAsync(session, cancellationToken).ConfigureAwait(false)).ToDictionary(t => t.Place, StringComparer.Ordinal);
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            await _store.AdoptAsync(lease.Connection, cancellationToken).ConfigureAwait(false);
            long kept = 0, stuck = 0;
            object? after = null;
            while (await _store.ReadPageAsync(lease.Connection, after, cancellationToken).ConfigureAwait(false) is { Count: > 0 } page)
            {
                after = page[^1].Place;
                var gone = new List<QuarantineEntry>();
                foreach (var column in page.GroupBy(e => (e.Cell.Table, e.Cell.Column)))
                {
                    if (Find(column.Key.Table, column.Key.Column) is not var (scan, index))
                    {
                        // Another context's table: its job is to look at it.
                        continue;
                    }

                    foreach (var chunk in column.Chunk(ChunkSize))
                    {
                        var left = await CountAsync(lease.Connection, scan, index, chunk.Select(e => e.Cell.PrimaryKey), cancellationToken).ConfigureAwait(false);
                        foreach (var entry in chunk)
                        {
                            if (left.TryGetValue(entry.Cell.PrimaryKey, out var count))
                            {
                                kept++;
                                stuck += isTried(entry.Cell, entry.RunId) ? count.Usable : 0;
                            }
                            else
                            {
                                gone.Add(entry);
                            }
                        }
                    }
                }

                await _store.RemoveAsync(lease.Connection, gone, cancellationToken).ConfigureAwait(false);
            }

            return (kept, stuck);
        }
    }

    private (TableScan Scan, int Index)? Find(string name, string column)
    {
        if (!_tables.TryGetValue(name, out var table))
        {
            return null;
        }

        var index = Enumerable.Range(0, table.Columns.Count).FirstOrDefault(i => table.Columns[i].Name == column, -1);
        return index < 0 ? null : (new TableScan(table, new StaleFilter(table, stale)), index);
    }

    /// <summary>
    /// By primary key, how many envelopes of a cell name a stale key, and how many of those one that can be used; cells that name none are absent. A row that row-level security hides is not taken for one that is gone: PostgreSQL raises
    /// an error instead. Where the table's primary key is another one since, the job finds the row by that.
    /// </summary>
    private async Task<Dictionary<string, (int Stale, int Usable)>> CountAsync(DbConnection connection, TableScan scan, int index, IEnumerable<string> primaryKeys, CancellationToken cancellationToken)
    {
        var left = new Dictionary<string, (int Stale, int Usable)>(StringComparer.Ordinal);
        var keys = new Dictionary<string, object[]>(StringComparer.Ordinal);
        foreach (var text in primaryKeys)
        {
            if (scan.TryDeserialize(text, out var key))
            {
                keys[text] = key;
            }
        }

        var isLast = keys.Count == 0;
        while (!isLast)
        {
            var batch = await ReadAsync(connection, scan, [.. keys.Values], cancellationToken).ConfigureAwait(false);
            var before = keys.Count;
            batch.Rows.ForEach(row => keys.Remove(TableScan.Serialize(row.Key)!));

            // Cells are large where a batch is cut off before its last row: the others are read next.
            isLast = batch.IsLast || keys.Count == 0 || keys.Count == before;
            foreach (var row in (await _lookup.SelectAsync(scan, batch, cancellationToken).ConfigureAwait(false)).Rows)
            {
                var column = scan.Table.Columns[index];
                if (_lookup.CountStale(column, row.Cells[index]) is > 0 and var count)
                {
                    left[TableScan.Serialize(row.Key)!] = (count, count - _lookup.CountBlocked(column, row.Cells[index], blocked));
                }
            }
        }

        return left;
    }

    private static async Task<ScannedBatch> ReadAsync(DbConnection connection, TableScan scan, IReadOnlyList<object[]> keys, CancellationToken cancellationToken)
    {
        var transaction = connection is Npgsql.NpgsqlConnection ? await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false) : null;
        try
        {
            if (transaction is not null)
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => "SET LOCAL row_security = off", cancellationToken).ConfigureAwait(false);
            }

            var range = scan.OpenRows(connection, transaction, keys);
            await using (range.ConfigureAwait(false))
            {
                return await range.ReadAsync(cancellationToken).ConfigureAwait(false);
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
