using System.Data.Common;
using System.Globalization;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Census;

/// <summary>Estimates a census before it is taken.</summary>
internal static class CensusEstimate
{
    /// <summary>What a disk gives at least.</summary>
    private const double BytesPerSecond = 100 * 1024 * 1024;

    /// <summary>Rows of the largest table that are read to learn how long a row takes.</summary>
    private const int SampleRows = 20_000;

    /// <summary>Tables without statistics up to this size are counted; larger ones are told from their size and a hundred rows.</summary>
    private const long CountedBytes = 64 * 1024 * 1024;

    public static async Task<CensusCost> TakeAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var time = session.Runtime.TimeProvider;
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            long rows = 0, bytes = 0, most = 0;
            EncryptedTable? largest = null;
            foreach (var table in EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>()))
            {
                var size = await MeasureAsync(lease.Connection, lease.Transaction, table, cancellationToken).ConfigureAwait(false);
                (rows, bytes) = (rows + size.Rows, bytes + size.Bytes);
                (largest, most) = size.Rows > most ? (table, size.Rows) : (largest, most);
            }

            var disk = TimeSpan.FromSeconds(bytes / BytesPerSecond);
            if (largest is null)
            {
                return new CensusCost(rows, bytes, disk, "no row");
            }

            var started = time.GetTimestamp();
            var sampled = await SampleAsync(lease.Connection, lease.Transaction, largest, cancellationToken).ConfigureAwait(false);
            var spent = time.GetElapsedTime(started) * ((double)rows / Math.Max(1, sampled));
            return spent > disk
                ? new CensusCost(rows, bytes, spent, string.Create(CultureInfo.InvariantCulture, $"as long as a sample of {sampled} row(s) of {largest.Name} took"))
                : new CensusCost(rows, bytes, disk, "at 100 MiB/s, assumed; a sample of rows was faster");
        }
    }

    private static async Task<(long Rows, long Bytes)> MeasureAsync(DbConnection connection, DbTransaction? transaction, EncryptedTable table, CancellationToken cancellationToken)
    {
        if (connection is not Npgsql.NpgsqlConnection)
        {
            var counted = await NumbersAsync(connection, transaction, _ => $"SELECT COUNT(*), COUNT(*) * COALESCE((SELECT AVG({Length(table)}) FROM (SELECT * FROM {table.Delimited} LIMIT 100)), 0) FROM {table.Delimited}", cancellationToken).ConfigureAwait(false);
            return (counted[0], counted[1]);
        }

        // A partitioned table has no pages of its own: its leaves do.
        var size = await NumbersAsync(connection, transaction, command =>
        {
            var name = Sql.Add(command, table.Delimited);
            return $"""
                SELECT COALESCE(SUM(GREATEST(reltuples, 0)), 0), COALESCE(SUM(pg_table_size(oid)), 0), COALESCE(SUM(CASE WHEN reltuples < 0 THEN pg_relation_size(oid) ELSE 0 END), 0) FROM pg_class
                WHERE (oid = to_regclass({name}) AND relkind <> 'p') OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass({name})) WHERE isleaf)
                """;
        }, cancellationToken).ConfigureAwait(false);
        var (rows, bytes, unknown) = (size[0], size[1], size[2]);
        if (unknown > 0)
        {
            // Never analysed: its statistics say nothing.
            rows = unknown <= CountedBytes
                ? (await NumbersAsync(connection, transaction, _ => $"SELECT COUNT(*) FROM {table.Delimited}", cancellationToken).ConfigureAwait(false))[0]
                : rows + (unknown / Math.Max(1, (await NumbersAsync(connection, transaction, _ => $"SELECT COALESCE(AVG(pg_column_size(t)), 1) + 4 FROM (SELECT * FROM {table.Delimited} LIMIT 100) AS t", cancellationToken).ConfigureAwait(false))[0]));
        }

        return (rows, bytes);
    }

    /// <summary>Reads the headers of some rows' cells, as a census does.</summary>
    private static async Task<long> SampleAsync(DbConnection connection, DbTransaction? transaction, EncryptedTable table, CancellationToken cancellationToken)
    {
        var headers = table.Columns.Select((c, i) => $"COUNT({(c.Storage == EncryptedStorage.Document ? $"CAST({c.Delimited} AS TEXT)" : $"substr({c.Delimited}, 1, 30)")}) AS c{i.ToString(CultureInfo.InvariantCulture)}");
        return (await NumbersAsync(
            connection, transaction, _ => string.Create(CultureInfo.InvariantCulture, $"SELECT COUNT(*), {string.Join(", ", headers)} FROM (SELECT {string.Join(", ", table.Columns.Select(c => c.Delimited))} FROM {table.Delimited} LIMIT {SampleRows}) AS sampled"), cancellationToken).ConfigureAwait(false))[0];
    }

    private static async Task<long[]> NumbersAsync(DbConnection connection, DbTransaction? transaction, Func<DbCommand, string> sql, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql(command);
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        return [.. Enumerable.Range(0, reader.FieldCount).Select(i => reader.IsDBNull(i) ? 0 : Convert.ToInt64(reader.GetValue(i), CultureInfo.InvariantCulture))];
    }

    /// <summary>SQL for the bytes of a row's encrypted cells.</summary>
    public static string Length(EncryptedTable table, bool isPostgres = false)
        => string.Join(" + ", table.Columns.Select(c => isPostgres
            ? $"COALESCE(octet_length({(c.Storage == EncryptedStorage.Document ? $"CAST({c.Delimited} AS TEXT)" : c.Delimited)}), 0)"
            : $"COALESCE(length({c.Delimited}), 0)"));
}
