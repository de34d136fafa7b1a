using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>A throw-away PostgreSQL cluster from local binaries, which may be restarted and killed. Ends with its process.</summary>
public sealed class PostgresCluster : IAsyncDisposable
{
    private readonly string _bin;
    private readonly string _root;
    private readonly int _port;
    private int _stopped;

    private PostgresCluster(string bin, string root, int port)
    {
        (_bin, _root, _port) = (bin, root, port);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    /// <summary>Connection string of the maintenance database, as superuser.</summary>
    public string ConnectionString => $"Host=127.0.0.1;Port={_port};Username=postgres;Database=postgres;Include Error Detail=true";

    public string DataDirectory => Path.Combine(_root, "data");

    private static bool AsRoot => RuntimeInformation.IsOSPlatform(OSPlatform.Linux) && Environment.UserName == "root";

    /// <param name="settings">Lines for postgresql.conf, behind those that make it quick.</param>
    /// <param name="initialize">Further options of initdb.</param>
    /// <param name="parent">Where its folder is made; null for the temporary folder.</param>
    public static async Task<PostgresCluster> StartAsync(string settings = "", string? parent = null, string initialize = "")
    {
        var cluster = await NewAsync(parent);
        await RunAsync(Path.Combine(cluster._bin, "initdb"), $"-D {cluster.DataDirectory} -U postgres -A trust -E UTF8 --no-sync --locale=C.UTF-8 {initialize}", AsRoot);
        await File.AppendAllTextAsync(
            Path.Combine(cluster.DataDirectory, "postgresql.conf"),
            $"\nlisten_addresses = '127.0.0.1'\nport = {cluster._port}\nunix_socket_directories = ''\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 600\nmax_prepared_transactions = 20\nshared_buffers = 256MB\n{settings}\n");

        // Only the superuser is trusted: every other role needs its password.
        await File.WriteAllTextAsync(
            Path.Combine(cluster.DataDirectory, "pg_hba.conf"), "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 trust\n");
        await cluster.ControlAsync("-w -t 60 start");
        return cluster;
    }

    /// <summary>Starts a second server that follows this one by streaming replication.</summary>
    public async Task<PostgresCluster> AddStandbyAsync()
    {
        var standby = await NewAsync(parent: null);
        await RunAsync(Path.Combine(_bin, "pg_basebackup"), $"-h 127.0.0.1 -p {_port} -U postgres -D {standby.DataDirectory} -X stream -c fast -R --no-sync", AsRoot);
        await File.AppendAllTextAsync(Path.Combine(standby.DataDirectory, "postgresql.conf"), $"\nport = {standby._port}\n");
        await standby.ControlAsync("-w -t 60 start");
        return standby;
    }

    /// <summary>Stops the server and starts it again; every connection is lost.</summary>
    /// <param name="mode"><c>fast</c> or, as if it were killed, <c>immediate</c>.</param>
    /// <param name="maximumFileBytes">A size beyond which no file of the server grows any more; 0 for none.</param>
    public async Task RestartAsync(string mode, long maximumFileBytes = 0)
    {
        await ControlAsync($"-m {mode} -w -t 60 stop");
        await ControlAsync("-w -t 60 start", maximumFileBytes);
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _stopped, 1) == 0)
        {
            await ControlAsync("-m immediate stop");
            Directory.Delete(_root, recursive: true);
        }
    }

    private static async Task<PostgresCluster> NewAsync(string? parent)
    {
        var bin = FindBinaries();
        var root = parent is null ? Directory.CreateTempSubdirectory("efenvelope-pg-").FullName : Directory.CreateDirectory(Path.Combine(parent, $"efenvelope-pg-{Guid.NewGuid():N}")).FullName;
        if (AsRoot)
        {
            await RunAsync("chown", $"postgres {root}", asPostgres: false);
        }

        return new PostgresCluster(bin, root, FreePort());
    }

    private Task ControlAsync(string words, long maximumFileBytes = 0)
    {
        var control = $"{Path.Combine(_bin, "pg_ctl")} -D {DataDirectory} -l {Path.Combine(_root, "log")} -s {words}";
        return maximumFileBytes == 0
            ? RunAsync(Path.Combine(_bin, "pg_ctl"), control[(control.IndexOf(' ', StringComparison.Ordinal) + 1)..], AsRoot)
            : RunAsync("bash", $"-c \"ulimit -f {maximumFileBytes / 1024}; {control}\"", AsRoot);
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

        // initdb is talkative; the server that pg_ctl starts would hold a redirected output open.
        start.RedirectStandardOutput = file.EndsWith("initdb", StringComparison.Ordinal);
        using var process = Process.Start(start)!;
        if (start.RedirectStandardOutput)
        {
            await process.StandardOutput.ReadToEndAsync();
        }

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
