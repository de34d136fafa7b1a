using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Census;

/// <summary>
/// Counts by header, in the database: <c>substr(col, 4, 16)</c> of binary cells, <c>substr(col, 10, 21)</c> of armour (the first 126 bits); JSON documents are scanned. On PostgreSQL with
/// <c>row_security = off</c>: an error instead of silently filtered rows. Tenant filters do not apply.
/// </summary>
internal static class CensusTaker
{
    public static async Task<EnvelopeCensus> TakeAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        try
        {
            return await CountAllAsync(session, cancellationToken).ConfigureAwait(false);
        }
        catch (DbException error) when (TableErrors.Explain(error) is { } explained)
        {
            throw explained;
        }
    }

    private static async Task<EnvelopeCensus> CountAllAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var context = session.Context;
        var takenAt = session.Runtime.TimeProvider.GetUtcNow();
        var known = await session.Ring.ListAsync(includeRowKeys: true, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var byId = known.ToDictionary(k => k.Id);
        var byArmor = known.GroupBy(k => ArmorPrefix(k.Id), StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.First().Id, StringComparer.Ordinal);
        var counts = new Dictionary<(string Table, string Column, Guid? Key), long>();
        var lease = await RingStoreFactory.Connect(context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            var transaction = lease.Transaction is null && lease.Connection is Npgsql.NpgsqlConnection
                ? await lease.Connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false)
                : null;
            try
            {
                var current = transaction ?? lease.Transaction;
                if (transaction is not null)
                {
                    using var security = Command(lease.Connection, current, "SET LOCAL row_security = off");
                    await security.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
                }

                foreach (var table in EncryptedTable.Of(context.Model, context.GetService<ISqlGenerationHelper>()))
                {
                    foreach (var column in table.Columns)
                    {
                        await CountAsync(lease.Connection, current, table, column, byArmor, counts, cancellationToken).ConfigureAwait(false);
                    }
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

        var entries = counts
            .Select(c => new CensusEntry(c.Key.Table, c.Key.Column, c.Key.Key, Entry(c.Key.Key)?.Scope, Entry(c.Key.Key)?.State, c.Value))
            .OrderBy(e => e.Table, StringComparer.Ordinal).ThenBy(e => e.Column, StringComparer.Ordinal).ThenBy(e => e.KeyId).ToList();
        return new EnvelopeCensus(takenAt, entries);

        KeyRingEntry? Entry(Guid? id) => id is { } key && byId.TryGetValue(key, out var entry) ? entry : null;
    }

    /// <summary>The 21 characters of armour that show the first 126 bits of a key id.</summary>
    public static string ArmorPrefix(Guid keyId) => Convert.ToBase64String(keyId.ToByteArray(bigEndian: true))[..21];

    private static async Task CountAsync(
        DbConnection connection, DbTransaction? transaction, EncryptedTable table, EncryptedColumn column,
        Dictionary<string, Guid> byArmor, Dictionary<(string, string, Guid?), long> counts, CancellationToken cancellationToken)
    {
        var name = column.Delimited;
        var sql = column.Storage switch
        {
            EncryptedStorage.Binary => $"SELECT substr({name}, 4, 16), substr({name}, 1, 2), COUNT(*) FROM {table.Delimited} WHERE {name} IS NOT NULL GROUP BY substr({name}, 4, 16), substr({name}, 1, 2)",
            EncryptedStorage.Armor => $"SELECT substr({name}, 10, 21), substr({name}, 1, 5), COUNT(*) FROM {table.Delimited} WHERE {name} IS NOT NULL GROUP BY substr({name}, 10, 21), substr({name}, 1, 5)",
            _ => $"SELECT CAST({name} AS TEXT) FROM {table.Delimited} WHERE CAST({name} AS TEXT) LIKE '%{TextArmor.Prefix}%'",
        };
        using var command = Command(connection, transaction, sql);
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            switch (column.Storage)
            {
                case EncryptedStorage.Binary:
                    Add(BinaryKey(reader), Convert.ToInt64(reader.GetValue(2), System.Globalization.CultureInfo.InvariantCulture));
                    break;
                case EncryptedStorage.Armor:
                    Guid? key = reader.GetString(1) == TextArmor.Prefix && byArmor.TryGetValue(reader.GetString(0), out var found) ? found : null;
                    Add(key, Convert.ToInt64(reader.GetValue(2), System.Globalization.CultureInfo.InvariantCulture));
                    break;
                default:
                    foreach (var (id, _, _) in Documents.Find(reader.GetString(0)))
                    {
                        Add(id, 1);
                    }

                    break;
            }
        }

        void Add(Guid? key, long cells)
        {
            var at = (table.Name, column.Name, key);
            counts[at] = counts.GetValueOrDefault(at) + cells;
        }
    }

    private static Guid? BinaryKey(DbDataReader reader)
        => reader.GetValue(0) is byte[] { Length: 16 } id && reader.GetValue(1) is byte[] { Length: 2 } head && head[0] == EnvelopeLayout.Marker
            ? new Guid(id, bigEndian: true)
            : null;

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction, string sql)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return command;
    }
}
