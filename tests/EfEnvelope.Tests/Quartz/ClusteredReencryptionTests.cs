using System.Text.Json;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.Tests.Reencryption;
using Npgsql;

namespace EfEnvelope.Tests.Quartz;

/// <summary>Re-encryption on a cluster of Quartz schedulers: each node is a process of its own, over one PostgreSQL store.</summary>
public sealed class ClusteredReencryptionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>The schedule names no time near: only recovery can fire the job on another node.</summary>
    [Fact]
    public async Task The_job_of_a_node_that_is_killed_and_of_one_that_shuts_down_is_finished_by_another()
    {
        const long rows = 1_500;
        await using var database = await JobDatabase.CreateAsync("PostgreSQL");
        var target = database.Target();
        await Loader.RunAsync(target, rows, 4, ["Item"]);
        await JobFaultTests.RotateAsync(target);

        // Slow, so that it is still at work when the other node is there, however long that takes to start.
        await using var killed = await StartAsync(target, "--fire", "1", "--pause", "1");
        await ProgressAsync(killed);
        await using var other = await StartAsync(target);
        killed.Signal(ChildProcess.Kill9);
        Assert.Equal(128 + ChildProcess.Kill9, await killed.ExitAsync(Patience));
        var left = await JobFaultTests.StaleAsync(target);
        Assert.InRange(left, 1, (2 * rows) - 1);

        Assert.Equal("""{"event":"fired","recovering":true}""", await other.LineAsync(l => l.Contains("fired", StringComparison.Ordinal), Patience));
        await using var last = await StartAsync(target, "--batch", "200", "--pause", "0");
        await ProgressAsync(other);
        other.Signal(ChildProcess.Terminate);
        Assert.True(await other.ExitAsync(Patience) == 0, other.Output);
        Assert.NotNull(other.Event("stopped"));
        Assert.Null(other.Event("report"));
        Assert.InRange(await JobFaultTests.StaleAsync(target), 1, left - 1);

        await last.LineAsync(l => l.StartsWith("""{"event":"report""", StringComparison.Ordinal), Patience);
        Assert.Equal("""{"event":"fired","recovering":true}""", last.Lines.First(l => l.Contains("fired", StringComparison.Ordinal)));
        var report = last.Event("report")!.Value;
        Assert.True(report.GetProperty("proven").GetBoolean(), last.Output);
        Assert.InRange(report.GetProperty("rows").GetInt64(), 1, rows - 1);
        last.Signal(ChildProcess.Terminate);
        Assert.True(await last.ExitAsync(Patience) == 0, last.Output);

        await using var context = target.CreateContext();
        Assert.True((await new EnvelopeKeys(context).VerifyReportAsync(report.GetProperty("completion").GetString()!)).Report is { IsProven: true });
        Assert.Equal(0, await JobFaultTests.StaleAsync(target));
        Assert.Empty((await Verifier.RunAsync(target, new RowOracle(rows), ["Item"])).Wrong);
        Assert.Equal("EfEnvelope.Quartz.EnvelopeReencryptionJob, EfEnvelope.Quartz", await JobTypeAsync(database));
    }

    private static async Task<ChildProcess> StartAsync(Target target, params string[] more)
    {
        var process = ChildProcess.Start("scheduler", target, ["--batch", "10", "--unit", "100", "--parallel", "1", "--pause", "0.2", .. more]);
        await process.LineAsync(l => l == "READY", Patience);
        return process;
    }

    /// <summary>When rows of it are committed: a batch may have had none.</summary>
    private static Task<string> ProgressAsync(ChildProcess process)
        => process.LineAsync(l => l.StartsWith("""{"event":"progress""", StringComparison.Ordinal) && JsonDocument.Parse(l).RootElement.GetProperty("done").GetInt64() > 0, Patience);

    /// <summary>As the store keeps it: no version, so that nodes of two versions share the job during a deployment.</summary>
    private static async Task<string?> JobTypeAsync(JobDatabase database)
    {
        await using var connection = new NpgsqlConnection(database.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand("SELECT job_class_name FROM qrtz_job_details", connection);
        return (string?)await command.ExecuteScalarAsync();
    }
}
