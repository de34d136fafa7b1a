using System.Data;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Names a model's tables as the database tells them apart, for the ring's table of columns: on PostgreSQL with the schema that the search path leads to, where the model names none. Without it two tables of different schemas would be one
/// place. SQLite has no schemas: its tables keep the model's names.
/// </summary>
internal static class DataTables
{
    /// <summary>The name in the model, with its schema where it has one there.</summary>
    public static string NameOf(ITable table) => table.Schema is null ? table.Name : $"{table.Schema}.{table.Name}";

    /// <summary>Asks as the statement will: in the context's open transaction, which may have made the table, and on its connection, whose search path may have been changed, where that is open or a table is not found without.</summary>
    /// <returns>
    /// Names in the database by names in the model (<see cref="NameOf"/>), without those that are not found. And of which of them that does not hold for others: they are not found, or not committed. A table that only the transaction
    /// sees may be gone with it, and the search path lead to another.
    /// </returns>
    public static async ValueTask<(IReadOnlyDictionary<string, string> Names, IReadOnlySet<string> Unsettled)> ResolveAsync(EnvelopeSession session, IEnumerable<ITable> tables, CancellationToken cancellationToken)
    {
        var names = tables.Select(NameOf).Distinct(StringComparer.Ordinal).ToDictionary(n => n, StringComparer.Ordinal);
        var asked = tables.Where(t => t.Schema is null).Select(t => t.Name).Distinct(StringComparer.Ordinal).ToArray();
        var unsettled = new HashSet<string>(StringComparer.Ordinal);
        if (asked.Length == 0 || session.Context.GetService<IRelationalConnection>().DbConnection is not NpgsqlConnection connection)
        {
            return (names, unsettled);
        }

        // The transaction first: what is found there, and then by others too, stays.
        var here = connection.State != ConnectionState.Closed || session.FindTransaction() is not null ? await FindHereAsync(session, asked, cancellationToken).ConfigureAwait(false) : null;
        var committed = await OwnStore(session).RunAsync((own, transaction) => FindAsync(own, transaction, asked, cancellationToken), cancellationToken).ConfigureAwait(false);
        here ??= committed.Count == asked.Length ? committed : await FindHereAsync(session, asked, cancellationToken).ConfigureAwait(false);
        var elsewhere = here.Where(found => committed.GetValueOrDefault(found.Key) != found.Value).Select(found => found.Value).ToArray();
        var there = elsewhere.Length == 0 ? [] : await OwnStore(session).RunAsync((own, transaction) => FindCommittedAsync(own, transaction, elsewhere, cancellationToken), cancellationToken).ConfigureAwait(false);
        foreach (var name in asked)
        {
            if (!here.TryGetValue(name, out var found))
            {
                names.Remove(name);
                unsettled.Add(name);
                continue;
            }

            names[name] = found;
            if (committed.GetValueOrDefault(name) != found && !there.Contains(found))
            {
                unsettled.Add(name);
            }
        }

        return (names, unsettled);
    }

    /// <summary>Where the only table of a name stands that has a column of that name, by both; null where several have, or none. Views count: cells are read through them.</summary>
    public static Task<string?> FindOnlyAsync(EnvelopeSession session, string table, string column, CancellationToken cancellationToken)
        => OwnStore(session).RunAsync(
            async (connection, transaction) =>
            {
                using var command = connection.CreateCommand();
                command.Transaction = transaction;
                command.CommandText =
                    $"""
                     SELECT MIN(n.nspname || '.' || c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
                     WHERE c.relname = {Sql.Add(command, table)} AND a.attname = {Sql.Add(command, column)} AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') HAVING COUNT(*) = 1
                     """;
                return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) as string;
            },
            cancellationToken);

    private static async Task<Dictionary<string, string>> FindHereAsync(EnvelopeSession session, string[] asked, CancellationToken cancellationToken)
    {
        await session.Context.Database.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await ((RelationalKeyRingStore)session.OpenOwnStore()).RunAsync((connection, transaction) => FindAsync(connection, transaction, asked, cancellationToken), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await session.Context.Database.CloseConnectionAsync().ConfigureAwait(false);
        }
    }

    private static async Task<Dictionary<string, string>> FindAsync(DbConnection connection, DbTransaction? transaction, string[] asked, CancellationToken cancellationToken)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText =
            $"""
             SELECT asked.name, n.nspname || '.' || c.relname FROM unnest({Sql.AddArray(command, NpgsqlDbType.Text, asked)}) AS asked(name)
             JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(asked.name)) JOIN pg_namespace AS n ON n.oid = c.relnamespace
             """;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            found[reader.GetString(0)] = reader.GetString(1);
        }

        return found;
    }

    /// <summary>Which of the tables are there for others, by their names with schemas.</summary>
    private static async Task<HashSet<string>> FindCommittedAsync(DbConnection connection, DbTransaction? transaction, string[] names, CancellationToken cancellationToken)
    {
        var found = new HashSet<string>(StringComparer.Ordinal);
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = $"SELECT n.nspname || '.' || c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = ANY({Sql.AddArray(command, NpgsqlDbType.Text, names)})";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            found.Add(reader.GetString(0));
        }

        return found;
    }

    private static RelationalKeyRingStore OwnStore(EnvelopeSession session) => (RelationalKeyRingStore)RingStoreFactory.For(session.Context, null);
}
