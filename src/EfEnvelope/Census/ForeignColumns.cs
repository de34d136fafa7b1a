using System.Data.Common;
using EfEnvelope.Envelopes;
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
        DbConnection connection, DbTransaction? transaction, IReadOnlyList<(string Table, string Column, bool IsDocument)> places, ISqlGenerationHelper sql, CancellationToken cancellationToken)
    {
        var tables = new List<EncryptedTable>();
        foreach (var table in places.GroupBy(p => p.Table, StringComparer.Ordinal))
        {
            foreach (var (schema, plain) in Readings(table.Key))
            {
                var delimited = sql.DelimitIdentifier(plain, schema);
                var columns = new List<EncryptedColumn>();
                foreach (var (_, name, isDocument) in table)
                {
                    var storages = await FindStorageAsync(connection, transaction, plain, delimited, name, cancellationToken).ConfigureAwait(false);
                    if (isDocument && storages is [EncryptedStorage.Armor])
                    {
                        storages = [EncryptedStorage.Document];
                    }

                    columns.AddRange(storages.Select(storage => new EncryptedColumn(name, sql.DelimitIdentifier(name), storage, null, new Dictionary<string, ColumnDeclaration>())));
                }

                if (columns.Count > 0)
                {
                    tables.Add(new EncryptedTable(table.Key, delimited, [], columns));
                }
            }
        }

        return tables;
    }

    /// <summary>What a registered name may mean: a dot stands behind a schema or in a name. Whatever exists is counted; SQLite has no schemas, and leaves them out of the names of its tables.</summary>
    private static IEnumerable<(string? Schema, string Table)> Readings(string name)
    {
        yield return (null, name);
        for (var dot = name.IndexOf('.', StringComparison.Ordinal); dot >= 0; dot = name.IndexOf('.', dot + 1))
        {
            if (dot > 0 && dot < name.Length - 1)
            {
                yield return (name[..dot], name[(dot + 1)..]);
            }
        }
    }

    /// <summary>
    /// How a column may hold envelopes; none where there is no such column. On PostgreSQL its type tells, as it is now, of a domain the one below: what is neither bytes nor text (it was changed since) is searched for armour as a document
    /// is. On SQLite any column holds anything, whatever it was declared as: each cell is counted as what it is.
    /// </summary>
    private static async Task<EncryptedStorage[]> FindStorageAsync(DbConnection connection, DbTransaction? transaction, string table, string delimited, string column, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = connection is NpgsqlConnection
            ? $"""
               WITH RECURSIVE types AS (
                   SELECT t.oid, t.typbasetype, t.typcategory FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid WHERE attrelid = to_regclass({Sql.Add(command, delimited)}) AND attname = {Sql.Add(command, column)} AND NOT attisdropped
                   UNION ALL
                   SELECT t.oid, t.typbasetype, t.typcategory FROM types JOIN pg_type AS t ON t.oid = types.typbasetype)
               SELECT CASE WHEN oid = 'bytea'::regtype THEN 'BLOB' WHEN typcategory = 'S' THEN 'TEXT' ELSE '' END FROM types WHERE typbasetype = 0
               """
            : $"SELECT 'ANY' FROM pragma_table_info({Sql.Add(command, table)}) WHERE name = {Sql.Add(command, column)}";
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) switch
        {
            "BLOB" => [EncryptedStorage.Binary],
            "TEXT" => [EncryptedStorage.Armor],
            "ANY" => [EncryptedStorage.Binary, EncryptedStorage.Armor, EncryptedStorage.Document],
            string => [EncryptedStorage.Document],
            _ => [],
        };
    }

    /// <summary>
    /// Which cells of a column that may hold envelopes in every way are counted in one of them: each cell in one. Armour stands at the front of a text, or somewhere in a document; whatever is no envelope is counted with the binary cells,
    /// and with the armour where it is text.
    /// </summary>
    public static string Condition(string column, EncryptedStorage storage) => storage switch
    {
        EncryptedStorage.Binary => $"{column} IS NOT NULL AND typeof({column}) <> 'text'",
        EncryptedStorage.Armor => $"typeof({column}) = 'text' AND instr({column}, '{TextArmor.Prefix}') < 2",
        _ => $"typeof({column}) = 'text' AND instr({column}, '{TextArmor.Prefix}') > 1",
    };
}
