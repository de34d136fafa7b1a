using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using Spectre.Console;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobVerbTests() : JobVerbTests("SQLite");

public sealed class PostgresJobVerbTests() : JobVerbTests("PostgreSQL");

/// <summary>The verbs around the job: its window and limits, and the list of jobs. Exit codes 0, 3 and 4 stand in <see cref="EventStreamTests"/> too.</summary>
public abstract class JobVerbTests(string provider) : IAsyncLifetime
{
    private const int Rows = 60;

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
    public async Task Outside_of_its_window_a_job_that_is_to_stop_ends_with_4_and_inside_of_it_with_0()
    {
        // An hour that is twelve hours away, whenever the test runs.
        var now = TimeOnly.FromDateTime(TimeProvider.System.GetUtcNow().UtcDateTime);
        var (outside, inside) = (Window(now.AddHours(12)), Window(now.AddHours(-1)));

        var (code, printed) = await RunAsync("reencrypt", "--window", $"{outside} stop", "--cut-off-timeout", "30");
        Assert.Equal(EnvelopeCommandLine.Stopped, code);
        Assert.Contains("is closed", printed, StringComparison.Ordinal);
        Assert.Equal(2 * Rows, await JobFaultTests.StaleAsync(_target));

        (code, printed) = await RunAsync("reencrypt", "--json", "--window", $"{outside} stop", "--cut-off-timeout", "30");
        Assert.Equal(EnvelopeCommandLine.Stopped, code);
        Assert.Equal(("stopped", $"{outside} UTC stop"), (Last(printed).GetProperty("outcome").GetString(), First(printed).GetProperty("window").GetString()));

        (code, printed) = await RunAsync("reencrypt", "--json", "--window", inside, "--max-replica-lag-bytes", "1000000", "--stop-grace", "7", "--key-lifetime-days", "30", "--cut-off-timeout", "30");
        Assert.True(code == EnvelopeCommandLine.Proven, printed);
        var started = First(printed);
        Assert.Equal(
            ($"{inside} UTC", 1_000_000L, 7.0, 30.0),
            (started.GetProperty("window").GetString(), started.GetProperty("maxReplicaLagBytes").GetInt64(), started.GetProperty("stopGraceSeconds").GetDouble(), started.GetProperty("keyLifetimeDays").GetDouble()));
        Assert.Equal(Rows, Last(printed).GetProperty("rows").GetInt64());

        static string Window(TimeOnly from) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{from:HH:mm}-{from.AddHours(2):HH:mm}");
    }

    [Theory]
    [InlineData("--window", "at night", "22:00-05:00")]
    [InlineData("--window", "22:00-05:00 Nowhere", "Nowhere")]
    [InlineData("--max-replica-lag-bytes", "-1", "MaxReplicaLagBytes")]
    [InlineData("--stop-grace", "601", "StopGrace")]
    [InlineData("--pause", "-1", "Pause")]
    [InlineData("--cut-off-timeout", "-1", "CutOffTimeout")]
    [InlineData("--unit-lease", "1", "UnitLease")]
    [InlineData("--sample", "1001", "SampleSize")]
    [InlineData("--key-lifetime-days", "0", "--key-lifetime-days")]
    [InlineData("--key-lifetime-days", "2147483647", "--key-lifetime-days")]
    public async Task A_switch_out_of_its_range_is_2_names_itself_and_changes_nothing(string name, string value, string says)
    {
        var (code, printed) = await RunAsync("reencrypt", "--json=true", name, value);
        Assert.Equal(EnvelopeCommandLine.BadInput, code);
        var last = Last(printed);
        Assert.Equal(("finished", "badInput", 2), (last.GetProperty("event").GetString(), last.GetProperty("outcome").GetString(), last.GetProperty("exitCode").GetInt32()));
        Assert.Contains(says, last.GetProperty("notProvenBecause").GetString(), StringComparison.Ordinal);
        Assert.Equal(2 * Rows, await JobFaultTests.StaleAsync(_target));
    }

    [Fact]
    public async Task A_database_that_fails_is_1_and_a_verb_that_is_none_is_2()
    {
        await using (var connection = _target.Connect())
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = provider == "PostgreSQL"
                ? "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'the table is being moved' USING ERRCODE = '55000'; END $$ LANGUAGE plpgsql; CREATE TRIGGER refuse BEFORE UPDATE ON \"Items\" FOR EACH ROW EXECUTE FUNCTION refuse()"
                : "CREATE TRIGGER refuse BEFORE UPDATE ON \"Items\" BEGIN SELECT abs(-9223372036854775807 - 1); END";
            await command.ExecuteNonQueryAsync();
        }

        var (code, printed) = await RunAsync("reencrypt", "--json=true", "--cut-off-timeout", "30");
        Assert.Equal(EnvelopeCommandLine.Failed, code);
        Assert.Equal(("finished", "failed"), (Last(printed).GetProperty("event").GetString(), Last(printed).GetProperty("outcome").GetString()));
        Assert.Contains(provider == "PostgreSQL" ? "the table is being moved" : "integer overflow", Last(printed).GetProperty("notProvenBecause").GetString(), StringComparison.Ordinal);

        // Whoever put it right need not wait for the end of a lease.
        await using (var context = _target.CreateContext())
        {
            Assert.All(await new EnvelopeKeys(context).ListJobsAsync(), j => Assert.Empty(j.Workers));
        }

        (code, printed) = await RunAsync("reencrypt", "--json=false", "--cut-off-timeout", "30");
        Assert.Equal(EnvelopeCommandLine.Failed, code);
        Assert.Contains("The database failed: ", printed, StringComparison.Ordinal);
        Assert.Equal(EnvelopeCommandLine.BadInput, (await RunAsync("reencrypted")).ExitCode);
        Assert.Equal(EnvelopeCommandLine.BadInput, (await RunAsync("reencrypt", "--batch-size", "many")).ExitCode);
    }

    [Fact]
    public async Task Jobs_are_listed_with_their_progress_and_the_workers_that_hold_a_unit()
    {
        Assert.Contains("No re-encryption was run yet", (await RunAsync("jobs")).Printed, StringComparison.Ordinal);
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        IReadOnlyList<ReencryptionJobInfo>? during = null;
        var committed = 0;
        using var stop = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => keys.ReencryptAsync(
            JobFaultTests.Small with
            {
                DegreeOfParallelism = 1,
                FaultPoint = async step =>
                {
                    if (step == JobStep.Committed && ++committed == 1)
                    {
                        await using var other = _target.CreateContext();
                        during = await new EnvelopeKeys(other).ListJobsAsync();
                        await stop.CancelAsync();
                    }
                },
            },
            cancellationToken: stop.Token));

        var running = Assert.Single(during!);
        Assert.Equal((ReencryptionJobState.Running, null, 20L, 0), (running.State, running.FinishedAt, running.Rows, running.UnitsDone));
        var worker = Assert.Single(running.Workers);
        Assert.Equal(("Items", true, 20L), (worker.Table, worker.IsAlive, worker.Rows));
        Assert.Contains($"/{Environment.ProcessId}/", worker.Name, StringComparison.Ordinal);
        Assert.InRange(worker.LeaseUntil - worker.LastHeartbeat, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(9));

        // Stopped in order: its unit is given back, and the job waits for the next run.
        var waiting = Assert.Single(await keys.ListJobsAsync());
        Assert.Equal((ReencryptionJobState.Waiting, 0), (waiting.State, waiting.Workers.Count));
        Assert.True(waiting.LastHeartbeat >= worker.LastHeartbeat);
        Assert.Contains($"{running.Id}  Waiting  0 of {running.Units} unit(s), 20 row(s)", (await RunAsync("jobs")).Printed, StringComparison.Ordinal);

        await keys.ReencryptAsync(JobFaultTests.Small);
        await JobFaultTests.RotateAsync(_target);
        await keys.ReencryptAsync(JobFaultTests.Small);
        var (code, printed) = await RunAsync("jobs", "--json");
        Assert.Equal(EnvelopeCommandLine.Proven, code);
        using var json = JsonDocument.Parse(printed);
        var listed = json.RootElement.EnumerateArray().ToList();
        Assert.Equal(2, listed.Count);
        Assert.All(listed, j => Assert.Equal(("finished", (long)Rows), (j.GetProperty("state").GetString(), j.GetProperty("rows").GetInt64())));
        Assert.Equal(running.Id, listed[1].GetProperty("id").GetGuid());
        Assert.All(listed, j => Assert.Equal(j.GetProperty("units").GetInt32(), j.GetProperty("unitsDone").GetInt32()));
        Assert.Single(await keys.ListJobsAsync(atMost: 1));
        Assert.Equal(EnvelopeCommandLine.BadInput, (await RunAsync("jobs", "--last", "0")).ExitCode);
    }

    [Fact]
    public async Task A_worker_that_was_killed_is_shown_as_one_whose_lease_is_over()
    {
        await using (var job = ChildProcess.Start("job", _target, ["--batch", "10", "--unit", "100", "--parallel", "1", "--unit-lease", "5"], fault: "kill:Committed:1"))
        {
            await job.ExitAsync(TimeSpan.FromSeconds(60));
        }

        await using (var connection = _target.Connect())
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = "UPDATE \"EnvelopeJobUnits\" SET \"LeaseUntil\" = 1 WHERE \"State\" = 1";
            Assert.Equal(1, await command.ExecuteNonQueryAsync());
        }

        await using var context = _target.CreateContext();
        var job2 = Assert.Single(await new EnvelopeKeys(context).ListJobsAsync());
        Assert.Equal((ReencryptionJobState.Waiting, false), (job2.State, Assert.Single(job2.Workers).IsAlive));
        Assert.Contains("its lease is over", (await RunAsync("jobs")).Printed, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_job_tables_the_list_says_which_migration_is_missing()
    {
        await using (var connection = _target.Connect())
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = "DROP TABLE \"EnvelopeJobUnits\"";
            await command.ExecuteNonQueryAsync();
        }

        var (code, printed) = await RunAsync("jobs");
        Assert.Equal(EnvelopeCommandLine.BadInput, code);
        Assert.Contains("EnvelopeJobUnits", printed, StringComparison.Ordinal);
        Assert.Contains("dotnet ef migrations add", printed, StringComparison.Ordinal);
    }

    private static JsonElement First(string printed) => JsonDocument.Parse(printed.Split('\n', StringSplitOptions.RemoveEmptyEntries)[0]).RootElement;

    private static JsonElement Last(string printed) => JsonDocument.Parse(printed.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]).RootElement;

    private async Task<(int ExitCode, string Printed)> RunAsync(params string[] verb)
    {
        using var printed = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(printed) });
        return (await EnvelopeCommandLine.RunAsync(verb, () => _target.CreateContext(), console), printed.ToString());
    }
}
