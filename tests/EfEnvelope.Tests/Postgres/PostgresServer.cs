using System.Diagnostics;
using EfEnvelope.JobProcess.Faults;
using Npgsql;
using Testcontainers.PostgreSql;

namespace EfEnvelope.Tests.Postgres;

/// <summary>
/// The one real PostgreSQL of a test process: the server of <c>EFENVELOPE_TEST_POSTGRES</c>, else a container where a Docker engine
/// answers, else a throw-away cluster made from local binaries. Started on first use, stopped with the process.
/// </summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private static readonly Lazy<Task<PostgresServer>> Instance = new(StartAsync);
    private static int _databases;

    private readonly Func<ValueTask> _stop;

    private PostgresServer(string connectionString, string? dataDirectory, Func<ValueTask> stop)
    {
        ConnectionString = connectionString;
        DataDirectory = dataDirectory;
        _stop = stop;
    }

    /// <summary>Connection string of the maintenance database.</summary>
    public string ConnectionString { get; }

    /// <summary>The cluster's folder where this process made it, else null.</summary>
    public string? DataDirectory { get; }

    public static Task<PostgresServer> GetAsync() => Instance.Value;

    /// <summary>Creates an empty database of its own and returns its connection string.</summary>
    public async Task<string> CreateDatabaseAsync(string? suffix = null)
    {
        var name = $"efenvelope_{Environment.ProcessId}_{Interlocked.Increment(ref _databases)}{suffix}";
        await using var connection = new NpgsqlConnection(ConnectionString);
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE); CREATE DATABASE \"{name}\"";
        foreach (var sql in command.CommandText.Split(';'))
        {
            await using var one = connection.CreateCommand();
            one.CommandText = sql;
            await one.ExecuteNonQueryAsync();
        }

        return new NpgsqlConnectionStringBuilder(ConnectionString) { Database = name }.ConnectionString;
    }

    /// <summary>Ends what the pools hold of it - hundreds of databases share the server's connections - and gives its memory to the next one.</summary>
    public async Task DropDatabaseAsync(string connectionString)
    {
        await using var connection = new NpgsqlConnection(ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"DROP DATABASE IF EXISTS \"{new NpgsqlConnectionStringBuilder(connectionString).Database}\" WITH (FORCE)", connection);
        await command.ExecuteNonQueryAsync();
    }

    public ValueTask DisposeAsync() => _stop();

    private static async Task<PostgresServer> StartAsync()
    {
        if (Environment.GetEnvironmentVariable("EFENVELOPE_TEST_POSTGRES") is { Length: > 0 } given)
        {
            return new PostgresServer(given, null, () => ValueTask.CompletedTask);
        }

        if (await DockerAnswersAsync())
        {
            var container = new PostgreSqlBuilder("postgres:17").Build();
            await container.StartAsync();
            return new PostgresServer(container.GetConnectionString() + ";Include Error Detail=true", null, container.DisposeAsync);
        }

        // Hundreds of databases: autovacuum would be at one of them all the time.
        var cluster = await PostgresCluster.StartAsync("autovacuum = off");
        return new PostgresServer(cluster.ConnectionString, cluster.DataDirectory, cluster.DisposeAsync);
    }

    private static async Task<bool> DockerAnswersAsync()
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("docker", "info") { RedirectStandardOutput = true, RedirectStandardError = true });
            if (process is null)
            {
                return false;
            }

            await process.WaitForExitAsync();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
