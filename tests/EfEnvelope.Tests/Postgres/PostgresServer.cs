using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
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

        return await StartClusterAsync();
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

    private static async Task<PostgresServer> StartClusterAsync()
    {
        var bin = FindBinaries();
        var root = Directory.CreateTempSubdirectory("efenvelope-pg-").FullName;
        var data = Path.Combine(root, "data");
        var port = FreePort();
        var asRoot = RuntimeInformation.IsOSPlatform(OSPlatform.Linux) && Environment.UserName == "root";
        if (asRoot)
        {
            await RunAsync("chown", $"postgres {root}", asPostgres: false);
        }

        await RunAsync(Path.Combine(bin, "initdb"), $"-D {data} -U postgres -A trust -E UTF8 --no-sync --locale=C.UTF-8", asRoot);
        await File.AppendAllTextAsync(
            Path.Combine(data, "postgresql.conf"),
            $"\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 600\nmax_prepared_transactions = 20\nshared_buffers = 256MB\n");
        // Only the superuser is trusted: every other role needs its password.
        await File.WriteAllTextAsync(
            Path.Combine(data, "pg_hba.conf"), "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 trust\n");
        await RunAsync(Path.Combine(bin, "pg_ctl"), $"-D {data} -l {Path.Combine(root, "log")} -w -t 60 start", asRoot);
        var stopped = 0;
        async ValueTask Stop()
        {
            if (Interlocked.Exchange(ref stopped, 1) == 0)
            {
                await RunAsync(Path.Combine(bin, "pg_ctl"), $"-D {data} -m immediate stop", asRoot);
                Directory.Delete(root, recursive: true);
            }
        }

        AppDomain.CurrentDomain.ProcessExit += (_, _) => Stop().AsTask().GetAwaiter().GetResult();
        return new PostgresServer($"Host=127.0.0.1;Port={port};Username=postgres;Database=postgres;Include Error Detail=true", data, Stop);
    }

    private static string FindBinaries()
    {
        if (Environment.GetEnvironmentVariable("EFENVELOPE_POSTGRES_BIN") is { Length: > 0 } configured)
        {
            return configured;
        }

        var candidates = new List<string>();
        foreach (var parent in new[] { "/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt" })
        {
            if (Directory.Exists(parent))
            {
                candidates.AddRange(Directory.GetDirectories(parent).OrderByDescending(d => d, StringComparer.Ordinal).Select(d => Path.Combine(d, "bin")));
            }
        }

        candidates.AddRange((Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator));
        return candidates.FirstOrDefault(c => File.Exists(Path.Combine(c, "initdb")) && File.Exists(Path.Combine(c, "pg_ctl")))
            ?? throw new InvalidOperationException("No PostgreSQL: set EFENVELOPE_TEST_POSTGRES, start a Docker engine, or install it (eng/test.sh does).");
    }

    private static async Task RunAsync(string file, string arguments, bool asPostgres)
    {
        var start = asPostgres
            ? new ProcessStartInfo("setpriv", $"--reuid=postgres --regid=postgres --clear-groups {file} {arguments}")
            : new ProcessStartInfo(file, arguments);
        start.WorkingDirectory = Path.GetTempPath();
        start.RedirectStandardOutput = start.RedirectStandardError = false;
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{Path.GetFileName(file)} ended with exit code {process.ExitCode}.");
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
