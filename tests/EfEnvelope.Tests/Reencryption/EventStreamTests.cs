using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using Spectre.Console;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteEventStreamTests() : EventStreamTests("SQLite");

public sealed class PostgresEventStreamTests() : EventStreamTests("PostgreSQL");

/// <summary><c>reencrypt --json</c>: what a machine reads, and the exit codes of a job in a container.</summary>
public abstract class EventStreamTests(string provider) : IAsyncLifetime
{
    private const int Rows = 200;

    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, Rows, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_job_prints_JSON_lines_only_from_started_to_finished_and_never_a_value()
    {
        var report = Path.Combine(_database.Folder, "proof.json");
        var (exitCode, events, printed) = await RunAsync("--report", report);

        Assert.Equal(EnvelopeCommandLine.Proven, exitCode);
        var (first, last) = (events[0], events[^1]);
        Assert.Equal(("started", 1, "reencrypt", 20), (Name(first), first.GetProperty("schema").GetInt32(), first.GetProperty("verb").GetString(), first.GetProperty("batchSize").GetInt32()));
        Assert.Equal(["started", "progress", "finished"], events.Select(Name).Distinct());
        var progress = events.First(e => Name(e) == "progress");
        Assert.Equal(("Items", 0L), (progress.GetProperty("table").GetString(), progress.GetProperty("quarantined").GetInt64()));
        Assert.InRange(progress.GetProperty("done").GetInt64(), 1, Rows);
        Assert.Equal((0, "proven", true, (long)Rows), (last.GetProperty("exitCode").GetInt32(), last.GetProperty("outcome").GetString(), last.GetProperty("isProven").GetBoolean(), last.GetProperty("rows").GetInt64()));
        await using var context = _target.CreateContext();
        var verified = await new EnvelopeKeys(context).VerifyReportAsync(await File.ReadAllTextAsync(report));
        Assert.Equal(verified.Report!.Sha256, last.GetProperty("reportSha256").GetString());
        for (var number = 0; number < Rows; number++)
        {
            Assert.DoesNotContain(Values.Text(number, 0, 'f')!, printed, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_cell_that_does_not_open_is_an_event_and_exit_code_3()
    {
        await PoisonAsync(3);
        var (exitCode, events, _) = await RunAsync();

        Assert.Equal(EnvelopeCommandLine.Quarantined, exitCode);
        var quarantined = Assert.Single(events, e => Name(e) == "quarantined");
        Assert.Equal(("Items", 1L, 1L), (quarantined.GetProperty("table").GetString(), quarantined.GetProperty("cells").GetInt64(), quarantined.GetProperty("total").GetInt64()));
        var last = events[^1];
        Assert.Equal(("finished", 3, "quarantined", false), (Name(last), last.GetProperty("exitCode").GetInt32(), last.GetProperty("outcome").GetString(), last.GetProperty("isProven").GetBoolean()));
        Assert.False(string.IsNullOrEmpty(last.GetProperty("notProvenBecause").GetString()));
    }

    [Fact]
    public async Task A_job_that_cannot_begin_ends_with_finished_and_exit_code_2()
    {
        var (exitCode, events, _) = await RunAsync("--pause", "-1");
        Assert.Equal(EnvelopeCommandLine.BadInput, exitCode);
        var last = Assert.Single(events);
        Assert.Equal(("finished", 2, "badInput", nameof(EnvelopeConfigurationException)), (Name(last), last.GetProperty("exitCode").GetInt32(), last.GetProperty("outcome").GetString(), last.GetProperty("error").GetString()));
    }

    [Fact]
    public async Task A_container_that_is_terminated_in_the_middle_ends_with_4_and_the_next_one_with_0()
    {
        await using (var job = Start("--pause", "500"))
        {
            await job.LineAsync(l => l.Contains("\"event\":\"progress\"", StringComparison.Ordinal), TimeSpan.FromSeconds(60));
            job.Signal(ChildProcess.Terminate);
            Assert.True(await job.ExitAsync(TimeSpan.FromSeconds(30)) == EnvelopeCommandLine.Stopped, job.Output);
            Assert.Equal("stopped", job.Event("finished")!.Value.GetProperty("outcome").GetString());
        }

        Assert.InRange(await JobFaultTests.StaleAsync(_target), 1, (2 * Rows) - 1);
        await using var next = Start();
        Assert.True(await next.ExitAsync(TimeSpan.FromSeconds(60)) == EnvelopeCommandLine.Proven, next.Output);
        Assert.True(next.Event("finished")!.Value.GetProperty("isProven").GetBoolean());
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
    }

    private static string? Name(JsonElement line) => line.GetProperty("event").GetString();

    private ChildProcess Start(params string[] more)
        => ChildProcess.Start("envelope", _target, ["--", "reencrypt", "--json", "--batch-size", "20", "--parallel", "1", "--unit-size", "100", "--unit-lease", "5", "--cut-off-timeout", "30", .. more]);

    private async Task<(int ExitCode, List<JsonElement> Events, string Printed)> RunAsync(params string[] more)
    {
        using var printed = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(printed) });
        var exitCode = await EnvelopeCommandLine.RunAsync(["reencrypt", "--json", "--batch-size", "20", "--unit-size", "100", "--cut-off-timeout", "30", .. more], () => _target.CreateContext(), console);
        return (exitCode, [.. printed.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)], printed.ToString());
    }

    /// <summary>Flips a bit of the cell's tag.</summary>
    private async Task PoisonAsync(long number)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"First\" FROM \"Items\" WHERE \"Number\" = {number}";
        var cell = (byte[])(await command.ExecuteScalarAsync())!;
        cell[^1] ^= 1;
        command.CommandText = $"UPDATE \"Items\" SET \"First\" = {(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")} WHERE \"Number\" = {number}";
        await command.ExecuteNonQueryAsync();
    }
}
