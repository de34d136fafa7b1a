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
    private const double BytesPerSecond = 100 * 1024 * 1024;

    public static async Task<CensusCost> TakeAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            long rows = 0, bytes = 0;
            foreach (var table in EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>()))
            {
                using var command = lease.Connection.CreateCommand();
                command.Transaction = lease.Transaction;
                command.CommandText = lease.Connection is Npgsql.NpgsqlConnection
                    ? $"SELECT GREATEST(reltuples, 0)::bigint, pg_table_size(oid) FROM pg_class WHERE oid = to_regclass({Sql.Add(command, table.Delimited)})"
                    : $"SELECT COUNT(*), COUNT(*) * COALESCE((SELECT AVG({Length(table)}) FROM (SELECT * FROM {table.Delimited} LIMIT 100)), 0) FROM {table.Delimited}";
                using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                if (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                {
                    rows += Convert.ToInt64(reader.GetValue(0), CultureInfo.InvariantCulture);
                    bytes += Convert.ToInt64(reader.GetValue(1), CultureInfo.InvariantCulture);
                }
            }

            return new CensusCost(rows, bytes, TimeSpan.FromSeconds(bytes / BytesPerSecond));
        }
    }

    /// <summary>SQL for the bytes of a row's encrypted cells.</summary>
    public static string Length(EncryptedTable table, bool isPostgres = false)
        => string.Join(" + ", table.Columns.Select(c => isPostgres
            ? $"COALESCE(octet_length({(c.Storage == EncryptedStorage.Document ? $"CAST({c.Delimited} AS TEXT)" : c.Delimited)}), 0)"
            : $"COALESCE(length({c.Delimited}), 0)"));
}
