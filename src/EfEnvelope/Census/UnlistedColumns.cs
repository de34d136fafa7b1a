using System.Data.Common;
using System.Globalization;
using EfEnvelope.Envelopes;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Census;

/// <summary>
/// Columns that nobody registered and that may hold a listed column's cells all the same: of a table of the same name in another schema, which a changed search path led to, or one that was made before or behind it; of a table that was
/// renamed while another took its name; of a copy, an archive, a partition that was detached. They are told by their names and types: one column of a table of the same name, or all encrypted ones of a table of another name. What the role
/// may not read, or row-level security filters, is left out, as are views, foreign and temporary tables.
/// </summary>
internal static class UnlistedColumns
{
    /// <param name="connection">The connection that is to count.</param>
    /// <param name="transaction">The caller's transaction, if it is in one.</param>
    /// <param name="listed">Every column that is counted already.</param>
    /// <param name="ringTables">The names of the ring's own tables.</param>
    /// <param name="sql">The provider's syntax.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    public static async Task<List<EncryptedTable>> FindAsync(
        DbConnection connection, DbTransaction? transaction, IReadOnlyList<ListedColumn> listed, IReadOnlyCollection<string> ringTables, ISqlGenerationHelper sql, CancellationToken cancellationToken)
    {
        var isPostgres = connection is NpgsqlConnection;
        var comparer = isPostgres ? StringComparer.Ordinal : StringComparer.OrdinalIgnoreCase;

        // Tenants' schemas hold thousands of tables of few shapes.
        var tables = listed.GroupBy(c => c.Id, comparer).Select(t => (t.First().Relation, Columns: t.DistinctBy(c => c.Column, comparer).ToList()))
            .DistinctBy(t => (t.Relation, string.Join('\n', t.Columns.Select(c => $"{c.Column} {c.Storage}").Order(StringComparer.Ordinal)))).ToList();
        var known = listed.Select(c => c.Id).ToHashSet(comparer);
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = isPostgres ? OfPostgres(command, listed) : OfSqlite;
        command.CommandTimeout = 0;
        var found = new List<(string? Schema, string Table, string Column, string Kind)>();
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                found.Add((reader.IsDBNull(0) ? null : reader.GetString(0), reader.GetString(1), reader.GetString(2), reader.GetString(3)));
            }
        }

        var unlisted = new List<EncryptedTable>();
        foreach (var table in found.GroupBy(f => (f.Schema, f.Table)).Where(t => !ringTables.Contains(t.Key.Table, comparer) && !known.Contains(ForeignColumns.Id(sql, t.Key.Schema, t.Key.Table, isPostgres))))
        {
            var columns = new Dictionary<string, EncryptedColumn>(comparer);
            foreach (var (relation, encrypted) in tables)
            {
                var alike = encrypted.Select(c => (Listed: c, Found: table.FirstOrDefault(f => comparer.Equals(f.Column, c.Column) && MayHold(f.Kind, c.Storage)))).Where(c => c.Found.Column is not null).ToList();
                if (alike.Count == encrypted.Count || comparer.Equals(relation, table.Key.Table))
                {
                    foreach (var (column, at) in alike)
                    {
                        columns[at.Column] = new EncryptedColumn(at.Column, sql.DelimitIdentifier(at.Column), column.Storage, null, new Dictionary<string, Metadata.ColumnDeclaration>());
                    }
                }
            }

            if (columns.Count > 0)
            {
                var (schema, name) = table.Key;
                var all = isPostgres ? columns.Values : columns.Values.SelectMany(c => Enum.GetValues<EncryptedStorage>().Select(s => c with { Storage = s }));
                unlisted.Add(new EncryptedTable(schema is null ? name : $"{schema}.{name}", sql.DelimitIdentifier(name, schema), [], [.. all]) { IsListed = false });
            }
        }

        return [.. unlisted.OrderBy(t => t.Name, StringComparer.Ordinal)];
    }

    private static bool MayHold(string kind, EncryptedStorage storage) => storage switch
    {
        _ when kind.Length == 0 => true,
        EncryptedStorage.Binary => kind == "BLOB",
        EncryptedStorage.Armor => kind == "TEXT",
        _ => kind is "TEXT" or "JSON",
    };

    /// <summary>Whether a cell begins as envelopes do.</summary>
    public static string Mark(string column, EncryptedStorage storage, bool isPostgres) => storage switch
    {
        EncryptedStorage.Binary => string.Create(CultureInfo.InvariantCulture, $"substr({column}, 1, 1) = {(isPostgres ? $"'\\x{EnvelopeLayout.Marker:x2}'::bytea" : $"X'{EnvelopeLayout.Marker:x2}'")}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"substr({column}, 1, {TextArmor.Prefix.Length}) = '{TextArmor.Prefix}'"),
    };

    /// <summary>Partitions are read with their tables. Of schemas with a ring of their own too: it may be one that nobody uses.</summary>
    private static string OfPostgres(DbCommand command, IReadOnlyList<ListedColumn> listed)
        => $"""
            WITH RECURSIVE types AS (
                SELECT oid AS type, oid AS base FROM pg_type
                UNION ALL
                SELECT types.type, t.typbasetype FROM types JOIN pg_type AS t ON t.oid = types.base WHERE t.typbasetype <> 0)
            SELECT n.nspname, c.relname, a.attname, CASE WHEN t.oid = 'bytea'::regtype THEN 'BLOB' WHEN t.typcategory = 'S' THEN 'TEXT' ELSE 'JSON' END
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN types ON types.type = a.atttypid JOIN pg_type AS t ON t.oid = types.base AND t.typbasetype = 0
            WHERE a.attname = ANY({Storage.Sql.AddArray(command, NpgsqlDbType.Text, listed.Select(l => l.Column).Distinct(StringComparer.Ordinal).ToArray())}) AND a.attnum > 0 AND NOT a.attisdropped
                AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                AND (t.oid IN ('bytea'::regtype, 'json'::regtype, 'jsonb'::regtype) OR t.typcategory = 'S')
                AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
            ORDER BY 1, 2, a.attnum
            """;

    /// <summary>Any column holds anything there.</summary>
    private const string OfSqlite = "SELECT NULL, m.name, p.name, '' FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite^_%' ESCAPE '^' AND m.sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY m.name, p.cid";

    /// <summary>A column that is counted.</summary>
    /// <param name="Id">Tells its table from others, as <see cref="ForeignColumns.Id"/> makes it.</param>
    /// <param name="Relation">The table's name alone.</param>
    /// <param name="Column">Its name in the database.</param>
    /// <param name="Storage">How it holds envelopes.</param>
    public sealed record ListedColumn(string Id, string Relation, string Column, EncryptedStorage Storage);
}
