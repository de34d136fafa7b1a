using System.Data.Common;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Census;

/// <summary>
/// Encrypted columns that another context over the same database registered: they are counted, so that no proof is silent about them. Nothing else is known of them, hence nobody rewrites them here. What no longer stands in the
/// database (a renamed table) is left out. Other databases over the same ring are not counted here: the census names them.
/// </summary>
internal static class ForeignColumns
{
    public static async Task<List<EncryptedTable>> FindAsync(
        DbConnection connection, DbTransaction? transaction, IReadOnlyList<(string Table, string Column)> places, ISqlGenerationHelper sql, CancellationToken cancellationToken)
    {
        var tables = new List<EncryptedTable>();
        foreach (var table in places.GroupBy(p => p.Table, StringComparer.Ordinal))
        {
            var delimited = Delimit(connection, table.Key, sql);
            var columns = new List<EncryptedColumn>();
            foreach (var (_, name) in table)
            {
                if (await FindStorageAsync(connection, transaction, table.Key, delimited, name, cancellationToken).ConfigureAwait(false) is { } storage)
                {
                    columns.Add(new EncryptedColumn(name, sql.DelimitIdentifier(name), storage, null, new Dictionary<string, ColumnDeclaration>()));
                }
            }

            if (columns.Count > 0)
            {
                tables.Add(new EncryptedTable(table.Key, delimited, [], columns));
            }
        }

        return tables;
    }

    private static string Delimit(DbConnection connection, string table, ISqlGenerationHelper sql)
    {
        var dot = connection is NpgsqlConnection ? table.IndexOf('.', StringComparison.Ordinal) : -1;
        return dot < 0 ? sql.DelimitIdentifier(table) : sql.DelimitIdentifier(table[(dot + 1)..], table[..dot]);
    }

    private static async Task<EncryptedStorage?> FindStorageAsync(DbConnection connection, DbTransaction? transaction, string table, string delimited, string column, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = connection is NpgsqlConnection
            ? $"SELECT CAST(atttypid AS regtype)::text FROM pg_attribute WHERE attrelid = to_regclass({Sql.Add(command, delimited)}) AND attname = {Sql.Add(command, column)} AND NOT attisdropped"
            : $"SELECT type FROM pragma_table_info({Sql.Add(command, table)}) WHERE name = {Sql.Add(command, column)}";
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) switch
        {
            "bytea" or "BLOB" => EncryptedStorage.Binary,
            string => EncryptedStorage.Armor,
            _ => null,
        };
    }
}
