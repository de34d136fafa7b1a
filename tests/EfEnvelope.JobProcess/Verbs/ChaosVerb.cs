using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using Npgsql;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary>
/// <c>chaos [--rows N] [--writes-per-second N] [--workers N] [--kills N] [--interleavings N] [--seed N]</c>: a throw-away PostgreSQL, an application that writes without pause, workers in processes of
/// their own of which some are killed at random; then what was written is compared with what stands there. Then the interleavings. The last line is one JSON object; exit code 0 only if everything held.
/// </summary>
internal static class ChaosVerb
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var rows = arguments.Number("rows", 1_000_000);
        var seed = (int)arguments.Number("seed", Environment.TickCount);
        var interleavings = arguments.Number("interleavings", 1_000_000);
        Say($"seed {seed}");
        var folder = Directory.CreateTempSubdirectory("efenvelope-chaos-").FullName;
        try
        {
            await using var cluster = await PostgresCluster.StartAsync("shared_buffers = 512MB\nmax_wal_size = 4GB");
            var failures = new List<string>();
            var job = rows > 0 ? await JobAsync(arguments, cluster, folder, rows, new Random(seed), failures) : new JobOutcome();
            var (interleaved, met) = interleavings > 0 ? await InterleaveAsync(cluster, folder, interleavings, seed, failures) : (0, 0);
            foreach (var failure in failures)
            {
                Say($"FAILED: {failure}");
            }

            Console.WriteLine(JsonSerializer.Serialize(
                new
                {
                    Passed = failures.Count == 0, Rows = rows, Columns = 2, job.Rewritten, job.Conflicts, job.LostUpdates, job.Kills, Census = job.Stale, Rate = Math.Round(job.Rate), Seconds = Math.Round(job.Seconds, 1),
                    job.Writes, WritesPerSecond = Math.Round(job.WriteRate, 1), job.Deadlocks, job.Proven, job.ReportsVerified, job.ReportVerifies, Interleavings = interleaved, InterleavingConflicts = met, Seed = seed,
                },
                JsonSerializerOptions.Web));
            return failures.Count == 0 ? 0 : 1;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<JobOutcome> JobAsync(Arguments arguments, PostgresCluster cluster, string folder, long rows, Random random, List<string> failures)
    {
        var workers = (int)arguments.Number("workers", 4);
        var kills = (int)arguments.Number("kills", 2);
        var target = new Target(Target.Postgres, await DatabaseAsync(cluster, "chaos"), Path.Combine(folder, "root.key"), TimeSpan.FromSeconds(5));
        var log = Path.Combine(folder, "log");
        var clock = Stopwatch.StartNew();
        await Loader.RunAsync(target, rows, tenants: 8, ["Item"]);
        Say($"{rows} rows loaded in {clock.Elapsed.TotalSeconds:0.0} s");
        await using (var context = target.CreateContext())
        {
            await Retirement.RotateAllAsync(context, "chaos");
        }

        var text = rows.ToString(CultureInfo.InvariantCulture);
        await using var writer = ChildProcess.Start(
            "write", target, ["--rows", text, "--tenants", "8", "--rate", (arguments.Number("writes-per-second", 200) * 11 / 10).ToString(CultureInfo.InvariantCulture), "--writers", "8", "--log", log, "--seconds", "86400"]);
        await writer.LineAsync(l => l == "READY", TimeSpan.FromMinutes(1));
        var processes = Enumerable.Range(0, workers)
            .Select(_ => ChildProcess.Start("job", target, ["--parallel", "1", "--batch", "500", "--unit", Math.Clamp(rows / 50, 500, 20_000).ToString(CultureInfo.InvariantCulture), "--unit-lease", "5", "--cut-off", "300"])).ToList();
        clock.Restart();
        long done = 0;
        double seconds = 0;
        var killed = new HashSet<ChildProcess>();
        var deaths = Enumerable.Range(0, kills).Select(_ => 0.05 + (random.NextDouble() * 0.75)).Order().ToList();
        var said = TimeSpan.Zero;
        while (processes.Exists(p => !p.HasExited))
        {
            await Task.Delay(50);
            var now = processes.Sum(p => Count(p, "done"));
            (done, seconds) = now > done ? (now, clock.Elapsed.TotalSeconds) : (done, seconds);
            if (killed.Count < deaths.Count && done >= deaths[killed.Count] * rows && processes.FindAll(p => !p.HasExited && !killed.Contains(p)) is { Count: > 1 } alive)
            {
                var victim = alive[random.Next(alive.Count)];
                victim.Signal(ChildProcess.Kill9);
                killed.Add(victim);
                Say($"worker process {victim.Id} killed at {done} rows");
            }

            if (clock.Elapsed - said > TimeSpan.FromSeconds(10))
            {
                said = clock.Elapsed;
                Say($"{done} rows, {done / Math.Max(seconds, 0.001):0}/s");
            }
        }

        writer.CloseInput();
        var writerCode = await writer.ExitAsync(TimeSpan.FromMinutes(5));
        var written = writer.Event("written");
        foreach (var process in processes.Where(p => !killed.Contains(p)))
        {
            if (await process.ExitAsync(TimeSpan.FromMinutes(1)) is not 0 and var code)
            {
                failures.Add($"a worker ended with exit code {code}: {string.Join('\n', process.Lines.TakeLast(3))}");
            }
        }

        if (killed.Count < kills)
        {
            failures.Add($"only {killed.Count} of {kills} workers could be killed before the end");
        }

        var asked = arguments.Number("writes-per-second", 200);
        if (written is { } outcome && outcome.GetProperty("rate").GetDouble() < asked)
        {
            failures.Add($"the application wrote {outcome.GetProperty("rate").GetDouble():0.0} rows a second instead of {asked}");
        }

        if (writerCode != 0 || written is null)
        {
            failures.Add($"the application ended with exit code {writerCode}: {string.Join('\n', writer.Lines.TakeLast(5))}");
        }

        var oracle = new RowOracle(rows);
        foreach (var file in Directory.GetFiles(log))
        {
            WriteLog.Read(file, oracle);
        }

        Say("decrypting every row");
        var verified = await Verifier.RunAsync(target, oracle, ["Item"]);
        failures.AddRange(verified.Wrong.Take(10));
        await using var judge = target.CreateContext();
        var census = await new EnvelopeKeys(judge).TakeCensusAsync();
        if (census.StaleCells != 0)
        {
            failures.Add($"the census counts {census.StaleCells} cell(s) under stale keys");
        }

        var completed = processes.Select(p => p.Event("report")).OfType<JsonElement>().Select(r => r.GetProperty("completion").GetString()!).ToList();
        var genuine = 0;
        foreach (var report in completed)
        {
            var checkedReport = await new EnvelopeKeys(judge).VerifyReportAsync(report);
            genuine += checkedReport.Report is { IsProven: true } ? 1 : 0;
            if (checkedReport.Report is not { IsProven: true })
            {
                failures.Add($"a worker's completion report: {checkedReport.ToText()}");
            }
        }

        if (completed.Count == 0)
        {
            failures.Add("no worker left a completion report");
        }

        foreach (var process in processes)
        {
            await process.DisposeAsync();
        }

        return new JobOutcome
        {
            Rewritten = done, Seconds = seconds, Rate = done / Math.Max(seconds, 0.001), Kills = killed.Count, Conflicts = processes.Sum(p => Count(p, "conflicts")), LostUpdates = verified.LostUpdates, Stale = census.StaleCells,
            Writes = written?.GetProperty("writes").GetInt64() ?? 0, WriteRate = written?.GetProperty("rate").GetDouble() ?? 0, Deadlocks = written?.GetProperty("deadlocks").GetInt64() ?? 0,
            ReportsVerified = genuine, ReportVerifies = genuine > 0 && genuine == completed.Count,
            Proven = processes.Exists(p => p.Event("report") is { } report && report.GetProperty("proven").GetBoolean()),
        };
    }

    private static long Count(ChildProcess process, string name) => process.Event("progress") is { } progress ? progress.GetProperty(name).GetInt64() : 0;

    /// <summary>Six at a time on two cores, since they wait more than they work, on a database each, of either provider in turn; a fresh one after 2,500, so that tables and rings stay small: what the job rewrites in a round grows with both.</summary>
    private static async Task<(long Done, long Conflicts)> InterleaveAsync(PostgresCluster cluster, string folder, long wanted, int seed, List<string> failures)
    {
        long done = 0, conflicts = 0, next = -1, said = 0;
        const long shard = 2_500;
        var shards = (wanted + shard - 1) / shard;
        await Task.WhenAll(Enumerable.Range(0, 3 * Environment.ProcessorCount).Select(_ => Task.Run(async () =>
        {
            while (Interlocked.Increment(ref next) is var n && n < shards && failures.Count == 0)
            {
                var isPostgres = n % 2 == 0;
                var file = Path.Combine(TestFolder.Quick, $"efenvelope-chaos-{Environment.ProcessId}-{n}.db");
                try
                {
                    var target = new Target(
                        isPostgres ? Target.Postgres : Target.Sqlite, isPostgres ? await DatabaseAsync(cluster, $"interleave{n}") : $"Data Source={file};Pooling=False", Path.Combine(folder, $"interleave{n}.key"), TimeSpan.FromSeconds(1));
                    var result = await new Interleaver(target, seed + (int)n).RunAsync(Math.Min(shard, wanted - (n * shard)));
                    Interlocked.Add(ref conflicts, result.Conflicts);
                    var total = Interlocked.Add(ref done, result.Interleavings);
                    if (total / 50_000 > Interlocked.Exchange(ref said, total / 50_000))
                    {
                        Say($"{total} interleavings");
                    }
                }
                catch (Exception error)
                {
                    lock (failures)
                    {
                        failures.Add($"interleavings with seed {seed + (int)n}: {error}");
                    }
                }
                finally
                {
                    foreach (var suffix in isPostgres ? (string[])[] : ["", "-wal", "-shm"])
                    {
                        File.Delete(file + suffix);
                    }
                }
            }
        })));
        return (done, conflicts);
    }

    private static async Task<string> DatabaseAsync(PostgresCluster cluster, string name)
    {
        await using var connection = new NpgsqlConnection(cluster.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"CREATE DATABASE {name}", connection);
        await command.ExecuteNonQueryAsync();
        return new NpgsqlConnectionStringBuilder(cluster.ConnectionString) { Database = name }.ConnectionString;
    }

    private static void Say(string line) => Console.WriteLine(line);

    private sealed record JobOutcome
    {
        public long Rewritten { get; init; }

        public double Seconds { get; init; }

        public double Rate { get; init; }

        public int Kills { get; init; }

        public long Conflicts { get; init; }

        public int LostUpdates { get; init; }

        public long Stale { get; init; }

        public long Writes { get; init; }

        public double WriteRate { get; init; }

        public long Deadlocks { get; init; }

        public bool Proven { get; init; }

        /// <summary>Completion reports of the workers that lived, genuine and proven.</summary>
        public int ReportsVerified { get; init; }

        /// <summary>Whether there was one, and each was.</summary>
        public bool ReportVerifies { get; init; }
    }
}
