using EfEnvelope.JobProcess.Load;
using System.Data.Common;
using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.Postgres;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Functional;

/// <summary>One database of a test, of one of the providers; raw connections see what is really in the columns.</summary>
public abstract class TestDatabase : IAsyncDisposable
{
    public static async Task<TestDatabase> CreateAsync(string provider)
        => provider == "PostgreSQL"
            ? new PostgresDatabase(await (await PostgresServer.GetAsync()).CreateDatabaseAsync())
            : new SqliteDatabase(Path.Combine(TestFolder.Quick, $"efenvelope-{Guid.NewGuid():N}.db"));

    /// <summary>The key service of this database; part of the runtime's identity, so databases do not share caches.</summary>
    internal IKeyManagementService KeyService { get; set; } = new InMemoryKeyManagementService();

    public PatientClock Time { get; } = new();

    public abstract string ConnectionString { get; }

    public abstract DbConnection Connect();

    public abstract DbContextOptionsBuilder UseProvider(DbContextOptionsBuilder builder, string? connectionString = null);

    public DbContextOptions Options(Action<EnvelopeOptionsBuilder>? configure = null, Action<DbContextOptionsBuilder>? more = null, string? connectionString = null)
    {
        var builder = new DbContextOptionsBuilder();
        UseProvider(builder, connectionString);
        more?.Invoke(builder);
        builder.UseEnvelopeEncryption(envelope =>
        {
            envelope.UseKeyManagementService(KeyService).UseTimeProvider(Time);
            configure?.Invoke(envelope);
        });
        return builder.Options;
    }

    public async Task<object?> ScalarAsync(string sql)
    {
        await using var connection = Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        var value = await command.ExecuteScalarAsync();
        return value is DBNull ? null : value;
    }

    public async Task<int> ExecuteAsync(string sql)
    {
        await using var connection = Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        return await command.ExecuteNonQueryAsync();
    }

    public abstract ValueTask DisposeAsync();

    private sealed class SqliteDatabase(string path) : TestDatabase
    {
        public override string ConnectionString => $"Data Source={path}";

        public override DbConnection Connect() => new SqliteConnection(ConnectionString);

        public override DbContextOptionsBuilder UseProvider(DbContextOptionsBuilder builder, string? connectionString = null) => builder.AmongMany().UseSqlite(connectionString ?? ConnectionString);

        public override ValueTask DisposeAsync()
        {
            using var connection = new SqliteConnection(ConnectionString);
            SqliteConnection.ClearPool(connection);
            File.Delete(path);
            return ValueTask.CompletedTask;
        }
    }

    private sealed class PostgresDatabase(string connectionString) : TestDatabase
    {
        public override string ConnectionString => connectionString;

        public override DbConnection Connect() => new NpgsqlConnection(connectionString);

        public override DbContextOptionsBuilder UseProvider(DbContextOptionsBuilder builder, string? other = null) => builder.AmongMany().UseNpgsql(other ?? connectionString);

        public override async ValueTask DisposeAsync() => await (await PostgresServer.GetAsync()).DropDatabaseAsync(connectionString);
    }
}
