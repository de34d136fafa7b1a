using EfEnvelope.JobProcess.Faults;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Benchmarks.Running;

/// <summary>Databases to measure on: SQLite in temporary files; PostgreSQL as <c>EFENVELOPE_TEST_POSTGRES</c> names it, else a throw-away cluster. All go with the process.</summary>
internal static class Databases
{
    public const string Sqlite = "sqlite";
    public const string Postgres = "postgres";

    private static readonly string Folder = Directory.CreateTempSubdirectory("efenvelope-bench-").FullName;
    private static readonly Lazy<Task<PostgresCluster>> Cluster = new(() => PostgresCluster.StartAsync());
    private static int _count;

    public static IReadOnlyList<string> Providers => [Sqlite, Postgres];

    /// <summary>A new, empty database's connection string.</summary>
    public static async Task<string> CreateAsync(string provider)
    {
        var name = $"efenvelope_bench_{Environment.ProcessId}_{Interlocked.Increment(ref _count)}";
        if (provider == Sqlite)
        {
            return $"Data Source={Path.Combine(Folder, name)}.db";
        }

        var server = Environment.GetEnvironmentVariable("EFENVELOPE_TEST_POSTGRES") is { Length: > 0 } given ? given : (await Cluster.Value).ConnectionString;
        await using var connection = new NpgsqlConnection(server);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"CREATE DATABASE \"{name}\"", connection);
        await command.ExecuteNonQueryAsync();
        return new NpgsqlConnectionStringBuilder(server) { Database = name }.ConnectionString;
    }

    public static DbContextOptionsBuilder Use(this DbContextOptionsBuilder builder, string provider, string connectionString)
        => provider == Sqlite ? builder.UseSqlite(connectionString) : builder.UseNpgsql(connectionString);

    public static async Task DisposeAsync()
    {
        SqliteConnection.ClearAllPools();
        Directory.Delete(Folder, recursive: true);
        NpgsqlConnection.ClearAllPools();
        if (Cluster.IsValueCreated)
        {
            await (await Cluster.Value).DisposeAsync();
        }
    }
}
