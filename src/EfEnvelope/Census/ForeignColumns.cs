using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Census;

/// <summary>
/// Encrypted columns that another context over the same database registered: they are counted, so that no proof is silent about them. Nothing else is known of them, hence nobody rewrites them here. A column is what the database takes for
/// one, by whatever name and search path. A name without a schema, which versions before registered on PostgreSQL, is nobody's: it led whoever registered it somewhere, by his search path. What is not found (a table was renamed or dropped) is named: nobody can say where its cells are. Other databases over the same ring are not counted here: the census names them.
/// </summary>
internal static class ForeignColumns
{
    /// <param name="connection">The connection that is to count.</param>
    /// <param name="transaction">The caller's transaction, if it is in one.</param>
    /// <param name="registered">Every registered column of the database.</param>
    /// <param name="own">The tables of the context's own model: their columns are no foreign ones.</param>
    /// <param name="sql">The provider's syntax.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>Where the others stand; registered columns that are not found; and all columns that are, the context's own too.</returns>
    public static async Task<(List<EncryptedTable> Tables, List<(string Table, string Column)> Missing, List<UnlistedColumns.ListedColumn> Listed)> FindAsync(
        DbConnection connection, DbTransaction? transaction, IReadOnlyList<(string Table, string Column, bool IsDocument, bool IsForgotten)> registered, IReadOnlyList<EncryptedTable> own, ISqlGenerationHelper sql, CancellationToken cancellationToken)
    {
        var isPostgres = connection is NpgsqlConnection;
        var asked = own.SelectMany(t => t.Columns.Select(c => new Reading(null, t.Delimited, null, c.Name)))
            .Concat(registered.SelectMany((place, at) => Readings(place.Table, isPostgres).Select(r => new Reading(at, sql.DelimitIdentifier(r.Table, r.Schema), r.Table, place.Column)))).ToList();
        var found = isPostgres
            ? await FindAsync(connection, transaction, asked, sql, cancellationToken).ConfigureAwait(false)
            : await FindOneByOneAsync(connection, transaction, asked, registered, cancellationToken).ConfigureAwait(false);
        var declared = found.Where(f => f.Reading.Place is null).Select(f => (f.Id, f.ColumnId)).ToHashSet();
        var byName = own.Where(_ => !isPostgres).SelectMany(t => t.Columns.Select(c => (t.Name, c.Name))).ToHashSet();
        var places = found.ToLookup(f => f.Reading.Place ?? -1);
        var missing = registered.Where((place, at) => !places.Contains(at) && !byName.Contains((place.Table, place.Column))).Select(p => (p.Table, p.Column)).ToList();
        var foreign = registered.SelectMany((place, at) => places[at].Select(f => (Found: f, place.IsDocument))).Where(f => !declared.Contains((f.Found.Id, f.Found.ColumnId)));
        var tables = foreign.GroupBy(f => f.Found.Id, StringComparer.Ordinal).Select(table => new EncryptedTable(
            table.First().Found.Name, table.First().Found.Delimited, [],
            [.. table.GroupBy(f => f.Found.ColumnId, StringComparer.Ordinal).SelectMany(column => Columns(column.First().Found, column.Any(f => f.IsDocument), sql))]) { IsReadable = table.All(f => f.Found.IsReadable) });
        var storages = own.SelectMany(t => t.Columns.Select(c => (Key: (t.Delimited, c.Name), c.Storage))).ToLookup(c => c.Key, c => c.Storage);
        var listed = found.SelectMany(f => (f.Reading.Place is { } at ? Columns(f, registered[at].IsDocument, sql).Select(c => c.Storage) : storages[(f.Reading.Delimited, f.Reading.Column)])
            .Select(storage => new UnlistedColumns.ListedColumn(f.Id, f.Relation, f.Column, storage))).Distinct().ToList();
        return ([.. tables.OrderBy(t => t.Name, StringComparer.Ordinal)], missing, listed);
    }

    /// <summary>Tells a table from others of the database.</summary>
    public static string Id(ISqlGenerationHelper sql, string? schema, string table, bool isPostgres) => isPostgres ? sql.DelimitIdentifier(table, schema) : Fold(sql.DelimitIdentifier(table));

    private static IEnumerable<EncryptedColumn> Columns(FoundColumn found, bool isDocument, ISqlGenerationHelper sql)
        => (isDocument && found.Storages is [EncryptedStorage.Armor] ? [EncryptedStorage.Document] : found.Storages)
            .Select(storage => new EncryptedColumn(found.Column, sql.DelimitIdentifier(found.Column), storage, null, new Dictionary<string, ColumnDeclaration>()));

    /// <summary>What a registered name may mean: a dot stands behind a schema or in a name. Whatever exists is counted; SQLite has no schemas, and leaves them out of the names of its tables.</summary>
    private static IEnumerable<(string? Schema, string Table)> Readings(string name, bool isPostgres)
    {
        if (!isPostgres)
        {
            yield return (null, name);
        }

        for (var dot = name.IndexOf('.', StringComparison.Ordinal); dot >= 0; dot = name.IndexOf('.', dot + 1))
        {
            if (dot > 0 && dot < name.Length - 1)
            {
                yield return (name[..dot], name[(dot + 1)..]);
            }
        }
    }

    /// <summary>
    /// Which of the columns there are on PostgreSQL, in one query. A column's type tells how it holds envelopes, as it is now, of a domain the one below: what is neither bytes nor text (it was changed since) is searched for armour as a
    /// document is. Schemas are looked for in the catalogue: in one that the role may not use, a table is there all the same.
    /// </summary>
    private static async Task<List<FoundColumn>> FindAsync(DbConnection connection, DbTransaction? transaction, List<Reading> asked, ISqlGenerationHelper sql, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        var tables = Sql.AddArray(command, NpgsqlDbType.Text, asked.ConvertAll(r => r.Delimited).ToArray());
        var columns = Sql.AddArray(command, NpgsqlDbType.Text, asked.ConvertAll(r => r.Column).ToArray());
        command.CommandText =
            $"""
             WITH RECURSIVE asked AS (
                 SELECT place, a.attrelid AS relation, a.atttypid AS type
                 FROM unnest({tables}, {columns}) WITH ORDINALITY AS u(name, col, place)
                 CROSS JOIN LATERAL parse_ident(name) AS part
                 LEFT JOIN pg_namespace AS ns ON cardinality(part) > 1 AND ns.nspname = part[1]
                 JOIN pg_class AS c ON c.relname = part[cardinality(part)] AND CASE WHEN cardinality(part) = 1 THEN pg_table_is_visible(c.oid) ELSE c.relnamespace = ns.oid END
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped),
             types AS (
                 SELECT DISTINCT type, type AS base FROM asked
                 UNION ALL
                 SELECT types.type, t.typbasetype FROM types JOIN pg_type AS t ON t.oid = types.base WHERE t.typbasetype <> 0)
             SELECT place::int - 1, n.nspname, c.relname, COALESCE(pg_table_is_visible(c.oid), false), CASE WHEN t.oid = 'bytea'::regtype THEN 'BLOB' WHEN t.typcategory = 'S' THEN 'TEXT' ELSE '' END,
                 COALESCE(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(relation, 'SELECT') AND NOT row_security_active(relation), false)
             FROM asked JOIN types USING (type) JOIN pg_type AS t ON t.oid = types.base AND t.typbasetype = 0 JOIN pg_class AS c ON c.oid = relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY place
             """;
        command.CommandTimeout = 0;
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            var found = new List<FoundColumn>();
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                var (schema, table) = (reader.GetString(1), reader.GetString(2));
                var delimited = sql.DelimitIdentifier(table, schema);
                var reading = asked[reader.GetInt32(0)];
                found.Add(new FoundColumn(
                    reading, delimited, table, reader.GetBoolean(3) ? table : $"{schema}.{table}", delimited, reading.Column, reading.Column,
                    reader.GetString(4) switch { "BLOB" => [EncryptedStorage.Binary], "TEXT" => [EncryptedStorage.Armor], _ => [EncryptedStorage.Document] }, reader.GetBoolean(5)));
            }

            return found;
        }
    }

    /// <summary>Which of the columns there are on SQLite. Any column holds anything there, whatever it was declared as: each cell is counted as what it is. The case of a name's ASCII letters does not matter there.</summary>
    private static async Task<List<FoundColumn>> FindOneByOneAsync(
        DbConnection connection, DbTransaction? transaction, List<Reading> asked, IReadOnlyList<(string Table, string Column, bool IsDocument, bool IsForgotten)> registered, CancellationToken cancellationToken)
    {
        var found = new List<FoundColumn>();
        foreach (var reading in asked)
        {
            if (reading is not { Place: { } place, Table: { } table })
            {
                found.Add(new FoundColumn(reading, Fold(reading.Delimited), reading.Delimited, reading.Delimited, reading.Delimited, Fold(reading.Column), reading.Column, []));
                continue;
            }

            using var command = connection.CreateCommand();
            command.Transaction = transaction;
            command.CommandText = $"SELECT name FROM pragma_table_info({Sql.Add(command, table)}) WHERE name = {Sql.Add(command, reading.Column)} COLLATE NOCASE";
            if (await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is string column)
            {
                found.Add(new FoundColumn(reading, Fold(reading.Delimited), table, registered[place].Table, reading.Delimited, Fold(column), column, [EncryptedStorage.Binary, EncryptedStorage.Armor, EncryptedStorage.Document]));
            }
        }

        return found;
    }

    private static string Fold(string name) => string.Concat(name.Select(c => char.IsAsciiLetterUpper(c) ? (char)(c | 0x20) : c));

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

    /// <summary>One way to read a name.</summary>
    /// <param name="Place">Which of the registered columns it is; null for one of the context's own model.</param>
    /// <param name="Delimited">The table, with its schema where the reading has one.</param>
    /// <param name="Table">The table's name alone; null for one of the context's own model.</param>
    /// <param name="Column">The column.</param>
    private sealed record Reading(int? Place, string Delimited, string? Table, string Column);

    /// <summary>A column that is there.</summary>
    /// <param name="Reading">As what it was looked for.</param>
    /// <param name="Id">Tells its table from others of the database.</param>
    /// <param name="Relation">Its table's name alone.</param>
    /// <param name="Name">Its table, for people: on PostgreSQL with its schema where the search path does not lead to it, on SQLite as it is registered.</param>
    /// <param name="Delimited">Its table, for statements.</param>
    /// <param name="ColumnId">Tells it from others of its table.</param>
    /// <param name="Column">As the database spells it.</param>
    /// <param name="Storages">How it may hold envelopes.</param>
    /// <param name="IsReadable">Whether the role may read all of it.</param>
    private sealed record FoundColumn(Reading Reading, string Id, string Relation, string Name, string Delimited, string ColumnId, string Column, EncryptedStorage[] Storages, bool IsReadable = true);
}
