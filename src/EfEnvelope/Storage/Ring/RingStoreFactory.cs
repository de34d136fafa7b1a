using System.Collections.Concurrent;
using System.Data.Common;
using System.Runtime.CompilerServices;
using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Storage.Ring;

/// <summary>Finds a context's ring, and the connection to reach it by.</summary>
internal static class RingStoreFactory
{
    private const int RingPoolSize = 8;
    private const int RingIdleSeconds = 60;
    private const int RingConnectSeconds = 15;
    private const int RingCommandSeconds = 30;
    private const int RingCancelMilliseconds = 2_000;

    /// <summary>A batch is half a megabyte and more: with the driver's 8 KiB each would cost a hundred calls of the system, and as many changes of thread.</summary>
    private const int JobBufferBytes = 256 * 1024;

    private static readonly ConditionalWeakTable<DbConnection, object> MemoryDatabases = [];
    private static readonly ConcurrentDictionary<(string Callers, int Workers), string> OwnConnectionStrings = new();
    private static readonly ConcurrentDictionary<string, SqliteFile> SqliteFiles = new(StringComparer.Ordinal);
    private static readonly ConcurrentDictionary<string, PostgresServers> Servers = new(StringComparer.Ordinal);

    /// <summary>The ring of the database that the context is connected to.</summary>
    public static KeyRing GetRing(DbContext context, EnvelopeRuntime runtime, Func<DbConnection>? ringConnection)
    {
        var keys = context.Model.FindEntityType(typeof(EnvelopeKeyRow));
        RingPlace place;
        if (ringConnection is not null)
        {
            using var other = ringConnection();
            var own = context.GetService<IRelationalConnection>().DbConnection;
            if (other.GetType() != own.GetType())
            {
                throw new EnvelopeConfigurationException(
                    $"UseKeyRing(...) makes a {other.GetType().Name}, but the context uses a {own.GetType().Name}. The ring's database must be of the same provider as the data's. Nothing was written.");
            }

            place = Place(runtime, other, keys);
        }
        else
        {
            place = Place(runtime, context.GetService<IRelationalConnection>().DbConnection, keys);
        }

        return KeyRingRegistry.GetOrAdd(place, () => new KeyRing(runtime.KeyManagement, runtime.RingOptions, runtime.EncryptionContext, runtime.TimeProvider, runtime.Audit));
    }

    /// <summary>The ring's rows, over a connection of their own wherever that is possible.</summary>
    public static IKeyRingStore For(DbContext context, Func<DbConnection>? ringConnection)
        => new RelationalKeyRingStore(Connect(context, ringConnection), context.Model, context.GetService<ISqlGenerationHelper>());

    /// <summary>The ring's rows over the context's connection, in its transaction.</summary>
    public static IKeyRingStore ForOwnConnection(DbContext context)
    {
        var own = context.GetService<IRelationalConnection>();
        return ForConnection(context, own.DbConnection, own.CurrentTransaction?.GetDbTransaction());
    }

    /// <summary>The ring's rows over that connection, in that transaction.</summary>
    public static IKeyRingStore ForConnection(DbContext context, DbConnection connection, DbTransaction? transaction)
        => new RelationalKeyRingStore(RingConnection.Callers(connection, transaction), context.Model, context.GetService<ISqlGenerationHelper>());

    /// <summary>A connection of EfEnvelope's own to the context's database; the caller's for SQLite in memory.</summary>
    /// <param name="context">The context.</param>
    /// <param name="ringConnection">Makes connections to a ring in a database of its own; null for the context's database.</param>
    /// <param name="workers">Workers that each hold a connection and now and then need a second one: above zero they get a pool of their own, beside the ring's.</param>
    public static RingConnection Connect(DbContext context, Func<DbConnection>? ringConnection, int workers = 0)
    {
        if (ringConnection is not null)
        {
            return RingConnection.Own(_ => ValueTask.FromResult(ringConnection()));
        }

        // Not by DbContext.Database: that facade makes a dozen services for every context which would not need one.
        var own = context.GetService<IRelationalConnection>();
        var connection = own.DbConnection;
        var transaction = own.CurrentTransaction?.GetDbTransaction();
        if (connection is NpgsqlConnection postgres)
        {
            if (postgres.ConnectionString.Length == 0)
            {
                throw new EnvelopeConfigurationException(
                    "The context's connection has no connection string yet, so it is not known whose keys are meant. Set it, or open the connection first (context.Database.OpenConnectionAsync()) where an interceptor sets it then. Nothing was written.");
            }

            var connectionString = OwnConnectionStrings.GetOrAdd((postgres.ConnectionString, workers), static of => OwnConnectionString(of.Callers, of.Workers));
            return RingConnection.Own(
                PostgresClones.Of(postgres, connectionString),

                // A connection that was disposed of can no longer be cloned, and a context's soon is.
                () => PostgresClones.Of((NpgsqlConnection)((ICloneable)postgres).Clone(), connectionString));
        }

        if (IsSqlite(connection) && (IsInMemory(connection) || transaction is not null))
        {
            return RingConnection.Callers(connection, transaction);
        }

        var type = connection.GetType();
        var text = connection.ConnectionString;
        return RingConnection.Own(_ =>
        {
            var own = connection is ICloneable cloneable ? (DbConnection)cloneable.Clone() : (DbConnection)Activator.CreateInstance(type)!;
            own.ConnectionString = text;
            return ValueTask.FromResult(own);
        });
    }

    /// <summary>Where the model names no schema for the ring, what chooses one belongs to the place: schemas of one database that are told apart by the search path, or by the role (<c>"$user"</c>), have rings of their own.</summary>
    private static RingPlace Place(EnvelopeRuntime runtime, DbConnection connection, IReadOnlyEntityType? keys)
        => new(
            runtime,
            DataSourceOf(connection),
            connection.Database,
            $"{keys?.GetSchema()}.{keys?.GetTableName()}",
            keys?.GetSchema() is null ? SearchPathOf(connection) : "",
            IsInMemory(connection) ? MemoryIdentity(connection) : null);

    /// <summary>What a connection says of where PostgreSQL finds a table without a schema, without I/O: the role, its search path, its options. Empty for others.</summary>
    public static string SearchPathOf(DbConnection connection) => connection is NpgsqlConnection postgres ? ServersOf(postgres).SearchPath : "";

    /// <summary>
    /// A pool of the ring's own: small, and never in an ambient transaction. Time-outs that the application took away, for the sake of long reports, are the driver's usual ones here: every save of the process waits for a confirmation, and a
    /// connection that was dropped in silence, or a lock on the ring's tables, would never end one. A job's statements take as long as they take.
    /// </summary>
    private static string OwnConnectionString(string callers, int workers)
    {
        var settings = new NpgsqlConnectionStringBuilder(callers)
        {
            ApplicationName = workers > 0 ? "EfEnvelope job" : "EfEnvelope",
            Enlist = false,
            MinPoolSize = 0,
            MaxPoolSize = workers > 0 ? (2 * workers) + 2 : RingPoolSize,
            Multiplexing = false,
            ConnectionIdleLifetime = RingIdleSeconds,
        };
        settings.Timeout = settings.Timeout == 0 ? RingConnectSeconds : settings.Timeout;
        settings.CancellationTimeout = settings.CancellationTimeout == 0 ? RingCancelMilliseconds : settings.CancellationTimeout;
        if (workers == 0)
        {
            settings.CommandTimeout = settings.CommandTimeout == 0 ? RingCommandSeconds : settings.CommandTimeout;
        }
        else
        {
            settings.ReadBufferSize = Math.Max(settings.ReadBufferSize, JobBufferBytes);
            settings.WriteBufferSize = Math.Max(settings.WriteBufferSize, JobBufferBytes);
        }

        return settings.ConnectionString;
    }

    public static bool IsSqlite(DbConnection connection) => connection.GetType().Name == "SqliteConnection";

    /// <summary>
    /// Where a connection leads, whether it is open or not. SQLite's own answer is the path as it was written while closed, and the absolute one while open; with several hosts Npgsql's is empty while closed, whichever they are, and the host at hand while open.
    /// </summary>
    public static string DataSourceOf(DbConnection connection)
    {
        if (connection is NpgsqlConnection postgres)
        {
            return ServersOf(postgres).Hosts;
        }

        if (!IsSqlite(connection))
        {
            return connection.DataSource;
        }

        var file = FileOf(connection);
        return file.IsRelative ? Path.GetFullPath(file.Name) : file.Name;
    }

    /// <summary>Every context asks: read once for a connection string.</summary>
    private static PostgresServers ServersOf(NpgsqlConnection connection)
        => Servers.GetOrAdd(connection.ConnectionString, static text =>
        {
            var settings = new NpgsqlConnectionStringBuilder(text);
            var path = settings.SearchPath is null && settings.Options is null ? settings.Username : $"{settings.Username}/{settings.SearchPath}/{settings.Options}";
            return new PostgresServers($"tcp://{settings.Host}:{settings.Port}", path ?? "");
        });

    /// <summary>Whether the database ends with its connection.</summary>
    public static bool IsInMemory(DbConnection connection) => IsSqlite(connection) && FileOf(connection).IsInMemory;

    /// <summary>Every context asks: read once for a connection string. The connection itself would ask SQLite while it is open.</summary>
    private static SqliteFile FileOf(DbConnection connection)
        => SqliteFiles.GetOrAdd(connection.ConnectionString, static text =>
        {
            var settings = new DbConnectionStringBuilder { ConnectionString = text };
            var name = settings.TryGetValue("Data Source", out var value) || settings.TryGetValue("DataSource", out value) || settings.TryGetValue("Filename", out value) ? (string)value : "";
            return new SqliteFile(
                Path.IsPathFullyQualified(name) ? Path.GetFullPath(name) : name,
                name.Length == 0 || text.Contains(":memory:", StringComparison.OrdinalIgnoreCase) || text.Contains("Mode=Memory", StringComparison.OrdinalIgnoreCase),
                name.Length > 0 && !name.StartsWith(':') && !name.StartsWith('|') && !name.StartsWith("file:", StringComparison.OrdinalIgnoreCase) && !Path.IsPathFullyQualified(name));
        });

    /// <summary>An in-memory database lives as long as its connection is open: closing it ends the ring.</summary>
    private static object MemoryIdentity(DbConnection connection)
        => MemoryDatabases.GetValue(connection, static c =>
        {
            c.StateChange += EndWithConnection;
            return new object();
        });

    private static void EndWithConnection(object sender, System.Data.StateChangeEventArgs change)
    {
        var connection = (DbConnection)sender;
        if (change.CurrentState == System.Data.ConnectionState.Closed && MemoryDatabases.TryGetValue(connection, out var identity))
        {
            connection.StateChange -= EndWithConnection;
            MemoryDatabases.Remove(connection);
            KeyRingRegistry.Remove(identity);
        }
    }

    /// <param name="Hosts">All of them, as the connection string has them, and the port of those without one.</param>
    /// <param name="SearchPath">See <see cref="SearchPathOf"/>.</param>
    private sealed record PostgresServers(string Hosts, string SearchPath);

    /// <param name="Name">As the connection string has it; a full path without detours.</param>
    /// <param name="IsInMemory">Whether there is no file.</param>
    /// <param name="IsRelative">Whether it depends on the process's working directory.</param>
    private sealed record SqliteFile(string Name, bool IsInMemory, bool IsRelative);
}
