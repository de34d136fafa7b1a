using System.Collections.Concurrent;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Names the database that a context's encrypted columns stand in, for the ring's table of columns: empty where the ring stands in it too, else an identity that two host names of one server share. PostgreSQL: the
/// cluster's system identifier and the database's name, with the schema where that is not <c>public</c>; host, port and name where the role may not ask. SQLite: the file's full path. A physical copy of a cluster has its original's identity.
/// </summary>
internal static class DataDatabase
{
    /// <summary>How the ring's own database is shown to people.</summary>
    public const string Ring = "(the ring's database)";

    private static readonly ConcurrentDictionary<(Type Provider, string ConnectionString), string> Identities = new();

    /// <summary>Distinguishes the places of one ring's data within this process, without I/O: databases, and in the ring's own one what chooses the schema of its tables.</summary>
    public static string PlaceOf(EnvelopeSession session)
    {
        var connection = session.Context.GetService<IRelationalConnection>().DbConnection;
        return session.HasSeparateRing ? connection.ConnectionString : RingStoreFactory.SearchPathOf(connection);
    }

    /// <summary>A name as people see it.</summary>
    public static string Show(string name) => name.Length == 0 ? Ring : name;

    /// <summary>The name that is shown so.</summary>
    public static string Parse(string shown) => shown == Ring ? "" : shown;

    public static async ValueTask<string> NameAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        if (!session.HasSeparateRing)
        {
            return "";
        }

        var data = await IdentifyAsync((RelationalKeyRingStore)RingStoreFactory.For(session.Context, null), cancellationToken).ConfigureAwait(false);
        var ring = await IdentifyAsync((RelationalKeyRingStore)session.OpenStore(), cancellationToken).ConfigureAwait(false);
        return data == ring ? "" : data;
    }

    private static Task<string> IdentifyAsync(RelationalKeyRingStore store, CancellationToken cancellationToken)
        => store.RunAsync(
            async (connection, transaction) =>
            {
                var key = (connection.GetType(), connection.ConnectionString);
                if (!Identities.TryGetValue(key, out var identity))
                {
                    identity = connection is NpgsqlConnection postgres ? await IdentifyAsync(postgres, transaction, cancellationToken).ConfigureAwait(false) : RingStoreFactory.DataSourceOf(connection);
                    Identities[key] = identity;
                }

                return identity;
            },
            cancellationToken);

    private static async Task<string> IdentifyAsync(NpgsqlConnection connection, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        // Asked first: an error would end a transaction.
        var mayAsk = await ScalarAsync(connection, transaction, "SELECT COALESCE(has_function_privilege(to_regprocedure('pg_control_system()')::oid, 'EXECUTE'), false)", cancellationToken).ConfigureAwait(false) is true;
        var server = mayAsk
            ? Convert.ToString(await ScalarAsync(connection, transaction, "SELECT system_identifier::text FROM pg_control_system()", cancellationToken).ConfigureAwait(false), System.Globalization.CultureInfo.InvariantCulture)
            : $"{connection.Host}:{connection.Port}";
        var schema = await ScalarAsync(connection, transaction, "SELECT current_schema()::text", cancellationToken).ConfigureAwait(false) as string;
        return $"{server}/{connection.Database}{(schema is null or "public" ? "" : "/" + schema)}";
    }

    private static async Task<object?> ScalarAsync(DbConnection connection, DbTransaction? transaction, string sql, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
    }
}
