using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.Reencryption;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>At the steps that take or hold SQLite's one write lock, and at the last: the others differ from PostgreSQL in no statement.</summary>
public sealed class SqliteJobFaultTests() : JobFaultTests("SQLite", [nameof(JobStep.Claimed), nameof(JobStep.Written), nameof(JobStep.Checkpointed), nameof(JobStep.Committed), nameof(JobStep.Counted)], random: 1);

public sealed class PostgresJobFaultTests() : JobFaultTests("PostgreSQL", Enum.GetNames<JobStep>(), random: 2)
{
    /// <summary>G32.</summary>
    [Fact]
    public async Task Four_workers_in_processes_of_their_own_and_an_application_converge()
    {
        const long rows = 1_500;
        await using var database = await JobDatabase.CreateAsync("PostgreSQL");
        var target = database.Target();
        await Loader.RunAsync(target, rows, 4, ["Item"]);
        await RotateAsync(target);
        var log = Path.Combine(database.Folder, "log");
        await using var writer = ChildProcess.Start("write", target, ["--rows", $"{rows}", "--rate", "150", "--writers", "3", "--log", log, "--seconds", "60"]);
        await writer.LineAsync(l => l == "READY", TimeSpan.FromSeconds(30));

        // The pauses make the work longer than the processes need to start one behind the other.
        var workers = Enumerable.Range(0, 4).Select(_ => ChildProcess.Start("job", target, ["--batch", "20", "--unit", "100", "--parallel", "1", "--pause", "0.1"])).ToList();
        foreach (var worker in workers)
        {
            Assert.True(await worker.ExitAsync(TimeSpan.FromSeconds(60)) == 0, worker.Output);
        }

        writer.CloseInput();
        Assert.True(await writer.ExitAsync(TimeSpan.FromSeconds(20)) == 0, writer.Output);
        var oracle = new RowOracle(rows);
        foreach (var file in Directory.GetFiles(log))
        {
            WriteLog.Read(file, oracle);
        }

        Assert.Empty((await Verifier.RunAsync(target, oracle, ["Item"])).Wrong);
        Assert.Equal(0, await StaleAsync(target));
        Assert.True(workers.Count(w => w.Event("progress") is not null) > 1, "One worker did everything.");
        foreach (var worker in workers)
        {
            await worker.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_server_that_ends_its_back_ends_and_restarts_does_not_stop_the_job()
    {
        await using var cluster = await PostgresCluster.StartAsync("synchronous_commit = on");
        await using var database = JobDatabase.At(cluster.ConnectionString);
        var target = database.Target();
        await Loader.RunAsync(target, 300, 2, AllKinds);
        await RotateAsync(target);
        var oracle = new RowOracle(300);
        using var stop = new CancellationTokenSource();
        var application = new Application(target, oracle, new WriteLog(null), AllKinds, seed: 1, tenants: 2, index: 0, owners: 1);
        var writing = Task.Run(() => WriteAsync(application, stop.Token));
        var reached = 0;
        await using var context = target.CreateContext();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            BatchSize = 10,
            FaultPoint = async step =>
            {
                if (step == JobStep.Written)
                {
                    switch (Interlocked.Increment(ref reached))
                    {
                        case 4:
                            await using (var admin = new NpgsqlConnection(cluster.ConnectionString + ";Pooling=false;Application Name=admin"))
                            {
                                await admin.OpenAsync();
                                await using var command = new NpgsqlCommand("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'", admin);
                                await command.ExecuteNonQueryAsync();
                            }

                            break;
                        case 12:
                            await cluster.RestartAsync("immediate");
                            break;
                    }
                }
            },
        });
        await stop.CancelAsync();
        await writing;
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.True(reached > 12);
        Assert.Empty((await Verifier.RunAsync(target, oracle, AllKinds)).Wrong);
        Assert.Empty(application.Violations);
    }
}

/// <summary>G31: the job is killed, with signal 9, at every step and at random, under load; whoever comes next takes up what is left.</summary>
/// <param name="provider">The database.</param>
/// <param name="steps">Where it is killed.</param>
/// <param name="random">How often it is killed somewhere else.</param>
public abstract class JobFaultTests(string provider, string[] steps, int random)
{
    protected static readonly string[] AllKinds = ["Item", "Paper", "Card", "Ledger"];
    internal static readonly ReencryptionOptions Small = new() { BatchSize = 20, UnitSize = 100, UnitLease = TimeSpan.FromSeconds(5), CutOffTimeout = TimeSpan.FromSeconds(30), DegreeOfParallelism = 2 };

    [Fact]
    public async Task A_job_that_is_killed_anywhere_is_taken_up_and_nothing_is_lost()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await Loader.RunAsync(target, 150, 2, AllKinds);
        var oracle = new RowOracle(150);
        using var stop = new CancellationTokenSource();
        var application = new Application(target, oracle, new WriteLog(null), AllKinds, seed: 7, tenants: 2, index: 0, owners: 1);
        var writing = Task.Run(() => WriteAsync(application, stop.Token));
        foreach (var step in steps)
        {
            await RotateAsync(target);
            await using var job = ChildProcess.Start("job", target, ["--batch", "20", "--unit", "100", "--cut-off", "10"], fault: $"kill:{step}:{(step is nameof(JobStep.Written) or nameof(JobStep.Committed) ? 3 : 1)}");
            Assert.True(await job.ExitAsync(TimeSpan.FromSeconds(60)) == 128 + ChildProcess.Kill9, $"{step}: {job.Output}");
            Assert.Contains($"AT {step}", job.Lines);
        }

        var delays = new Random(11);
        for (var i = 0; i < random; i++)
        {
            await RotateAsync(target);
            await using var job = ChildProcess.Start("job", target, ["--batch", "5", "--unit", "100", "--pause", "0.01"]);
            await job.LineAsync(l => l.Contains("progress", StringComparison.Ordinal), TimeSpan.FromSeconds(30));
            // Not at a named step: a signal comes at any moment.
            await Task.Delay(delays.Next(60));
            job.Signal(ChildProcess.Kill9);
            Assert.True(await job.ExitAsync(TimeSpan.FromSeconds(10)) == 128 + ChildProcess.Kill9, $"it had ended before: {job.Output}");
            Assert.True(await StaleAsync(target) > 0, $"nothing was left to do: {job.Output}");
        }

        await stop.CancelAsync();
        await writing;
        await using var context = target.CreateContext();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Empty((await Verifier.RunAsync(target, oracle, AllKinds)).Wrong);
        Assert.Empty(application.Violations);
        Assert.Equal(0, report.Census.StaleCells);
        Assert.True(application.Writes > 50);
    }

    internal static async Task WriteAsync(Application application, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await application.OperateAsync(1, CancellationToken.None);
            await Task.Delay(15, CancellationToken.None);
        }
    }

    internal static async Task RotateAsync(Target target)
    {
        await using var context = target.CreateContext();
        await Retirement.RotateAllAsync(context, "test");
    }

    internal static async Task<long> StaleAsync(Target target)
    {
        await using var context = target.CreateContext();
        return (await new EnvelopeKeys(context).TakeCensusAsync()).StaleCells;
    }
}
