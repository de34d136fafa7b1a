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
/// Columns that only another context over the same database knows are counted too, from the ring's table of columns; other databases over the same ring are named.
/// </summary>
internal static class CensusTaker
{
    /// <summary>Characters of armour that show the key id's first 126 bits: five of the prefix, four of marker, suite and encoding, 21 of the key id.</summary>
    private const int ArmorHeader = 30;

    /// <summary>Columns that are counted in one scan at most: in the worst case groups multiply by versions of keys.</summary>
    private const int MaxGrouped = 6;

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
        var byArmor = new Lazy<Dictionary<string, Guid>>(() => IndexByArmor(known));
        var (others, databases) = await ColumnRegistry.FindOthersAsync(session, cancellationToken).ConfigureAwait(false);
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

                var sql = context.GetService<ISqlGenerationHelper>();
                foreach (var table in EncryptedTable.Of(context.Model, sql).Concat(await ForeignColumns.FindAsync(lease.Connection, current, others, sql, cancellationToken).ConfigureAwait(false)))
                {
                    await CountCellsAsync(lease.Connection, current, table, byArmor, counts, cancellationToken).ConfigureAwait(false);
                    foreach (var column in table.Columns.Where(c => c.Storage == EncryptedStorage.Document))
                    {
                        await CountDocumentsAsync(lease.Connection, current, table, column, counts, cancellationToken).ConfigureAwait(false);
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

        var entries = new List<CensusEntry>(counts.Count);
        entries.AddRange(counts.Select(c => new CensusEntry(c.Key.Table, c.Key.Column, c.Key.Key, Entry(c.Key.Key)?.Scope, Entry(c.Key.Key)?.State, c.Value)));
        entries.Sort(static (a, b) => string.CompareOrdinal(a.Table, b.Table) is not 0 and var table ? table
            : string.CompareOrdinal(a.Column, b.Column) is not 0 and var column ? column : Nullable.Compare(a.KeyId, b.KeyId));
        return new EnvelopeCensus(takenAt, entries) { OtherDatabases = [.. databases.Select(DataDatabase.Show)] };

        KeyRingEntry? Entry(Guid? id) => id is { } key && byId.TryGetValue(key, out var entry) ? entry : null;
    }

    /// <summary>Key ids by their armour.</summary>
    internal static Dictionary<string, Guid> IndexByArmor(IReadOnlyList<KeyRingEntry> keys)
    {
        var index = new Dictionary<string, Guid>(keys.Count, StringComparer.Ordinal);
        foreach (var key in keys)
        {
            index.TryAdd(ArmorPrefix(key.Id), key.Id);
        }

        return index;
    }

    /// <summary>The 21 characters of armour that show the first 126 bits of a key id.</summary>
    public static string ArmorPrefix(Guid keyId) => Convert.ToBase64String(keyId.ToByteArray(bigEndian: true))[..21];

    /// <summary>
    /// One scan for all columns of a table that hold a cell's header in front: rows are grouped by the headers of all their cells, of which there are few. Where rows have keys of their own there are as many headers as
    /// rows, and each column is counted by itself; so are those of which only the name is known.
    /// </summary>
    private static async Task CountCellsAsync(
        DbConnection connection, DbTransaction? transaction, EncryptedTable table, Lazy<Dictionary<string, Guid>> byArmor, Dictionary<(string, string, Guid?), long> counts, CancellationToken cancellationToken)
    {
        var columns = table.Columns.Where(c => c.Storage != EncryptedStorage.Document).ToList();
        foreach (var scanned in columns.Exists(c => c.Declaration is null or { PerRow: true }) ? columns.Select(c => new List<EncryptedColumn> { c }) : columns.Chunk(MaxGrouped).Select(c => c.ToList()))
        {
            var headers = scanned.Select(c => $"substr({c.Delimited}, 1, {(c.Storage == EncryptedStorage.Binary ? EnvelopeLayout.BoundHeaderBytes : ArmorHeader)})").ToList();
            using var command = Command(connection, transaction, $"SELECT {string.Join(", ", headers)}, COUNT(*) FROM {table.Delimited} GROUP BY {string.Join(", ", headers)}");
            command.CommandTimeout = 0;
            using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                var rows = Convert.ToInt64(reader.GetValue(scanned.Count), System.Globalization.CultureInfo.InvariantCulture);
                for (var i = 0; i < scanned.Count; i++)
                {
                    if (!reader.IsDBNull(i))
                    {
                        Add(counts, table, scanned[i], scanned[i].Storage == EncryptedStorage.Binary ? BinaryKey(reader.GetValue(i)) : ArmorKey(reader.GetValue(i), byArmor.Value), rows);
                    }
                }
            }
        }
    }

    private static async Task CountDocumentsAsync(
        DbConnection connection, DbTransaction? transaction, EncryptedTable table, EncryptedColumn column, Dictionary<(string, string, Guid?), long> counts, CancellationToken cancellationToken)
    {
        var name = column.Delimited;
        using var command = Command(connection, transaction, $"SELECT CAST({name} AS TEXT) FROM {table.Delimited} WHERE CAST({name} AS TEXT) LIKE '%{TextArmor.Prefix}%'");
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            foreach (var (id, _, _) in Documents.Find(reader.GetString(0)))
            {
                Add(counts, table, column, id, 1);
            }
        }
    }

    private static void Add(Dictionary<(string, string, Guid?), long> counts, EncryptedTable table, EncryptedColumn column, Guid? key, long cells)
    {
        var at = (table.Name, column.Name, key);
        counts[at] = counts.GetValueOrDefault(at) + cells;
    }

    private static Guid? BinaryKey(object header)
        => header is byte[] { Length: EnvelopeLayout.BoundHeaderBytes } bytes && bytes[0] == EnvelopeLayout.Marker ? EnvelopeLayout.KeyId(bytes) : null;

    private static Guid? ArmorKey(object header, Dictionary<string, Guid> byArmor)
        => header is string { Length: ArmorHeader } text && text.StartsWith(TextArmor.Prefix, StringComparison.Ordinal) && byArmor.TryGetValue(text[9..], out var found) ? found : null;

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction, string sql)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return command;
    }
}
