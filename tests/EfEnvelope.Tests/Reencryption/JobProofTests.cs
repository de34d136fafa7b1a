using System.Diagnostics;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Postgres;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>G34, G35: nobody who still holds the old key, and nobody's clock, makes the job report success.</summary>
public sealed class JobProofTests : IAsyncLifetime
{
    private static readonly string[] Items = ["Item"];
    private static readonly ReencryptionOptions Impatient = JobFaultTests.Small with { CutOffTimeout = TimeSpan.FromSeconds(2) };

    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync("PostgreSQL");
        _target = _database.Target();
        await Loader.RunAsync(_target, 60, 2, Items);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task An_open_transaction_that_began_before_the_cut_off_withholds_the_proof()
    {
        await using var context = _target.CreateContext();
        await using var transaction = await context.Database.BeginTransactionAsync();
        context.Add(Row(1000));
        await context.SaveChangesAsync();
        await JobFaultTests.RotateAsync(_target);
        var report = await RunAsync(Impatient);
        Assert.False(report.IsProven);
        Assert.Contains("transaction(s) that began before the cut-off", report.NotProvenBecause, StringComparison.Ordinal);
        AssertSaysNotProven(report);

        await transaction.CommitAsync();
        Assert.Equal(2, await JobFaultTests.StaleAsync(_target));
        report = await RunAsync(Impatient);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(1, report.Rows);
    }

    [Fact]
    public async Task A_table_without_a_stale_row_proves_nothing_while_a_writer_may_still_commit_one()
    {
        await using (var empty = _target.CreateContext())
        {
            await empty.Items.ExecuteDeleteAsync();
        }

        await using var context = _target.CreateContext();
        await using var transaction = await context.Database.BeginTransactionAsync();
        context.Add(Row(1000));
        await context.SaveChangesAsync();
        await JobFaultTests.RotateAsync(_target);
        Assert.False((await RunAsync(Impatient)).IsProven);
        await transaction.RollbackAsync();
        Assert.True((await RunAsync(Impatient)).IsProven);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_prepared_transaction_withholds_the_proof(bool isClockSetBack)
    {
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await ExecuteAsync(connection, "BEGIN; UPDATE \"Items\" SET \"TenantId\" = \"TenantId\" WHERE \"Number\" = -1; INSERT INTO \"Items\" (\"Id\", \"Number\", \"TenantId\", \"First\") SELECT 5000, 5000, \"TenantId\", \"First\" FROM \"Items\" WHERE \"Number\" = 1; PREPARE TRANSACTION 'left behind'");
        await JobFaultTests.RotateAsync(_target);
        var target = isClockSetBack ? await SetClockBackAsync(connection) : _target;
        var report = await RunAsync(Impatient, target);
        Assert.False(report.IsProven);
        Assert.Contains("1 transaction(s)", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("pg_prepared_xacts", report.NotProvenBecause, StringComparison.Ordinal);
        AssertSaysNotProven(report);
        await ExecuteAsync(connection, "COMMIT PREPARED 'left behind'");
        report = await RunAsync(Impatient, target);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(1, report.Rows);
    }

    [Fact]
    public async Task A_role_that_row_level_security_filters_is_an_error_and_not_a_smaller_census()
    {
        var role = await RoleAsync();
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await ExecuteAsync(connection, "ALTER TABLE \"Items\" ENABLE ROW LEVEL SECURITY; CREATE POLICY only_one ON \"Items\" USING (\"TenantId\" = 1)");
        await JobFaultTests.RotateAsync(_target);
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => RunAsync(Impatient, _database.Target(connectionString: role)));
        Assert.Contains("row-level security", error.Message, StringComparison.Ordinal);
        Assert.Equal(120, await JobFaultTests.StaleAsync(_target));
    }

    [Fact]
    public async Task A_role_that_may_not_see_when_others_transactions_began_waits_for_them_all_the_same()
    {
        var role = await RoleAsync();
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await AssertWaitsForAsync(connection, _database.Target(connectionString: role));
    }

    [Fact]
    public async Task A_session_that_does_not_tell_its_activity_withholds_the_proof()
    {
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await ExecuteAsync(connection, "SET track_activities = off");
        await AssertWaitsForAsync(connection, _target);
    }

    [Fact]
    public async Task A_writer_that_paused_between_seal_and_send_for_longer_than_the_lease_writes_nothing_under_the_old_key()
    {
        var reached = new TaskCompletionSource();
        var release = new ManualResetEventSlim();
        await using var context = _target.CreateContext(new SealedPoint(() =>
        {
            reached.TrySetResult();
            release.Wait();
        }));
        context.Add(Row(1000));
        var saving = Task.Run(() => context.SaveChangesAsync());
        await reached.Task;
        await JobFaultTests.RotateAsync(_target);
        var report = await RunAsync(Impatient with { CutOffTimeout = TimeSpan.FromSeconds(10) });
        Assert.True(report.IsProven, report.NotProvenBecause);

        release.Set();
        var error = Assert.IsType<KeyUnavailableException>((await Assert.ThrowsAsync<DbUpdateException>(() => saving)).InnerException);
        Assert.Contains("Nothing was written", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
        await context.SaveChangesAsync();
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
    }

    [Fact]
    public async Task A_process_that_was_suspended_while_it_saved_finds_its_key_retired_when_it_wakes()
    {
        var log = Path.Combine(_database.Folder, "log");
        await using var writer = ChildProcess.Start("write", _target, ["--rows", "60", "--tenants", "2", "--rate", "50", "--writers", "1", "--log", log, "--seconds", "60"], fault: $"stop:{FaultPlan.Sealed}:5");
        await writer.LineAsync(l => l == $"AT {FaultPlan.Sealed}", TimeSpan.FromSeconds(30));
        await JobFaultTests.RotateAsync(_target);
        var report = await RunAsync(Impatient with { CutOffTimeout = TimeSpan.FromSeconds(10) });
        Assert.True(report.IsProven, report.NotProvenBecause);
        writer.Signal(ChildProcess.Continue);
        writer.CloseInput();
        Assert.True(await writer.ExitAsync(TimeSpan.FromSeconds(20)) == 0, writer.Output);
        Assert.True(writer.Event("written")!.Value.GetProperty("uncertain").GetInt64() > 0, writer.Output);
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
        var oracle = new RowOracle(60);
        WriteLog.Read(Directory.GetFiles(log).Single(), oracle);
        Assert.Empty((await Verifier.RunAsync(_target, oracle, Items)).Wrong);
    }

    [Fact]
    public async Task A_suspended_worker_that_holds_a_batch_keeps_the_others_from_success_and_harms_nothing_when_it_wakes()
    {
        await JobFaultTests.RotateAsync(_target);
        await using var suspended = ChildProcess.Start("job", _target, ["--batch", "20", "--unit", "100", "--parallel", "1"], fault: $"stop:{nameof(JobStep.Written)}");
        await suspended.LineAsync(l => l == $"AT {nameof(JobStep.Written)}", TimeSpan.FromSeconds(30));
        await using var other = ChildProcess.Start("job", _target, ["--batch", "20", "--unit", "100", "--parallel", "1"]);
        await Assert.ThrowsAsync<TimeoutException>(() => other.ExitAsync(TimeSpan.FromSeconds(7)));
        suspended.Signal(ChildProcess.Continue);
        Assert.True(await suspended.ExitAsync(TimeSpan.FromSeconds(30)) == 0, suspended.Output);
        Assert.True(await other.ExitAsync(TimeSpan.FromSeconds(30)) == 0, other.Output);
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
        Assert.Empty((await Verifier.RunAsync(_target, new RowOracle(60), Items)).Wrong);
    }

    [Theory]
    [InlineData(10)]
    [InlineData(-10)]
    public async Task A_clock_that_is_ten_minutes_wrong_changes_no_outcome(int minutes)
    {
        var skewed = _database.Target(TimeSpan.FromSeconds(2), TimeSpan.FromMinutes(minutes));
        var right = _database.Target(TimeSpan.FromSeconds(2));
        await JobFaultTests.RotateAsync(skewed);
        var started = Stopwatch.GetTimestamp();
        var options = JobFaultTests.Small with { BatchSize = 1, DegreeOfParallelism = 1, Pause = TimeSpan.FromMilliseconds(2) };
        var reports = await Task.WhenAll(RunAsync(options, right), RunAsync(options, skewed));
        Assert.All(reports, r => Assert.True(r.IsProven, r.NotProvenBecause));
        Assert.True(Stopwatch.GetElapsedTime(started) > TimeSpan.FromSeconds(1.9), "The cut-off trusted a clock.");
        Assert.Equal(60, reports.Sum(r => r.Rows));

        // Nobody took a unit away from a worker that was alive.
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand("SELECT MAX(\"FencingToken\") FROM \"EnvelopeJobUnits\"", connection);
        Assert.Equal(1L, await command.ExecuteScalarAsync());
        Assert.Empty((await Verifier.RunAsync(_target, new RowOracle(60), Items)).Wrong);
    }

    /// <summary>An open transaction of the connection holds a cell under the old key: nothing is proven before it ends, and then not without its row.</summary>
    private async Task AssertWaitsForAsync(NpgsqlConnection connection, Target target)
    {
        await ExecuteAsync(connection, "BEGIN; INSERT INTO \"Items\" (\"Id\", \"Number\", \"TenantId\", \"First\") SELECT 5000, 5000, \"TenantId\", \"First\" FROM \"Items\" WHERE \"Number\" = 1");
        await JobFaultTests.RotateAsync(_target);
        var report = await RunAsync(Impatient, target);
        Assert.False(report.IsProven);
        Assert.Contains("1 transaction(s) that began before the cut-off", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains($"pid {connection.ProcessID}:", report.NotProvenBecause, StringComparison.Ordinal);
        AssertSaysNotProven(report);
        await ExecuteAsync(connection, "COMMIT");
        report = await RunAsync(Impatient, target);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(1, report.Rows);
    }

    /// <summary>The database as a server tells it whose clock went back by five minutes, by itself or by a failover.</summary>
    private async Task<Target> SetClockBackAsync(NpgsqlConnection connection)
    {
        await ExecuteAsync(connection, "CREATE SCHEMA back; CREATE FUNCTION back.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT pg_catalog.clock_timestamp() - interval '5 minutes'$$; CREATE FUNCTION back.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT pg_catalog.now() - interval '5 minutes'$$");
        return _database.Target(connectionString: new NpgsqlConnectionStringBuilder(_database.ConnectionString) { SearchPath = "back,public,pg_catalog" }.ConnectionString);
    }

    private static Item Row(long number) => new() { Id = number, Number = number, TenantId = 1, First = "f", Second = "s" };

    private static void AssertSaysNotProven(ReencryptionReport report)
    {
        Assert.Equal((false, false, report.NotProvenBecause), (report.Completion.IsProven, report.Completion.CutOff.IsReached, report.Completion.NotProvenBecause));
        Assert.Contains(": NOT PROVEN", report.Completion.ToText(), StringComparison.Ordinal);
    }

    private Task<ReencryptionReport> RunAsync(ReencryptionOptions options) => RunAsync(options, _target);

    private static async Task<ReencryptionReport> RunAsync(ReencryptionOptions options, Target target)
    {
        await using var context = target.CreateContext();
        return await new EnvelopeKeys(context).ReencryptAsync(options);
    }

    /// <summary>A role of this test's own that may read and write every table.</summary>
    private async Task<string> RoleAsync()
    {
        var name = $"worker_{Guid.NewGuid():N}";
        await using var connection = new NpgsqlConnection(_database.ConnectionString);
        await connection.OpenAsync();
        await ExecuteAsync(connection, $"CREATE ROLE {name} LOGIN PASSWORD 'worker'; GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER, TRUNCATE, REFERENCES ON ALL TABLES IN SCHEMA public TO {name}");
        return new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Username = name, Password = "worker" }.ConnectionString;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        foreach (var statement in sql.Split("; "))
        {
            await using var command = new NpgsqlCommand(statement, connection);
            await command.ExecuteNonQueryAsync();
        }
    }
}
