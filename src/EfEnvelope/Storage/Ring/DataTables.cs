using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Names a model's tables as the database tells them apart, for the ring's table of columns: on PostgreSQL with the schema that the connection string's search path leads to, where the model names none. Without it two tables of
/// different schemas would be one place. A table that is not found keeps the model's name; so do those of SQLite, which has no schemas.
/// </summary>
internal static class DataTables
{
    /// <summary>The name in the model, with its schema where it has one there.</summary>
    public static string NameOf(ITable table) => table.Schema is null ? table.Name : $"{table.Schema}.{table.Name}";

    /// <summary>Names in the database by names in the model (<see cref="NameOf"/>).</summary>
    public static async ValueTask<IReadOnlyDictionary<string, string>> ResolveAsync(EnvelopeSession session, IEnumerable<ITable> tables, CancellationToken cancellationToken)
    {
        var names = tables.Select(NameOf).Distinct(StringComparer.Ordinal).ToDictionary(n => n, StringComparer.Ordinal);
        var asked = tables.Where(t => t.Schema is null).Select(t => t.Name).Distinct(StringComparer.Ordinal).ToArray();
        if (asked.Length == 0 || session.Context.GetService<IRelationalConnection>().DbConnection is not NpgsqlConnection)
        {
            return names;
        }

        return await ((RelationalKeyRingStore)RingStoreFactory.For(session.Context, null)).RunAsync(
            async (connection, transaction) =>
            {
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
                    names[reader.GetString(0)] = reader.GetString(1);
                }

                return names;
            },
            cancellationToken).ConfigureAwait(false);
    }
}
