using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Reencryption;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Hosting;

public sealed class SqliteScheduledReencryptionTests() : ScheduledReencryptionTests("SQLite");

public sealed class PostgresScheduledReencryptionTests() : ScheduledReencryptionTests("PostgreSQL");

/// <summary>The hosted service in a real host. Its schedule is on the test's clock, the job on the machine's.</summary>
public abstract class ScheduledReencryptionTests(string provider) : IAsyncLifetime
{
    private const int Rows = 40;

    private static readonly ReencryptionOptions Job = JobFaultTests.Small with { BatchSize = 10, DegreeOfParallelism = 1 };

    private readonly FakeTimeProvider _time = new(DateTimeOffset.Parse("2026-03-01T12:00:00Z", System.Globalization.CultureInfo.InvariantCulture));
    private JobDatabase _database = null!;
    private Target _target = null!;
    private int _scopes;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, Rows, 2, ["Item"]);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task What_was_rotated_is_re_encrypted_when_the_next_run_is_due_and_proven()
    {
        using var host = await StartAsync();
        var schedule = Schedule(host);
        var first = await UntilAsync(schedule, s => s is { LastOutcome: not null, IsRunning: false });
        Assert.Equal((ReencryptionOutcome.NothingStale, null, null), (first.LastOutcome, first.LastReport, first.LastError));

        await JobFaultTests.RotateAsync(_target);
        var second = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Proven);

        // An hour after the run before, not earlier; on the test's clock, which stood still meanwhile.
        Assert.InRange(second.LastStartedAt!.Value - first.LastStartedAt!.Value, TimeSpan.FromHours(1), TimeSpan.FromMinutes(71));
        Assert.Equal((Rows, true), (second.LastReport!.Rows, second.LastReport.IsProven));
        Assert.Equal((Rows, 0L), (second.Progress!.Done, second.Progress.ToDo));
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
        Assert.Equal(HealthStatus.Healthy, await HealthAsync(host));
        await host.StopAsync();
        Assert.True(_scopes >= 2, "Each run has a scope of its own.");
    }

    [Fact]
    public async Task Without_a_newly_retired_key_a_proof_saves_the_runs_until_it_is_too_old()
    {
        await JobFaultTests.RotateAsync(_target);
        using var host = await StartAsync(o => o.MaximumProofAge = TimeSpan.FromHours(5));
        var schedule = Schedule(host);
        var proven = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Proven);
        var saved = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.NothingStale);
        Assert.Same(proven.LastReport, saved.LastReport);

        var again = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Proven);
        Assert.InRange(again.LastStartedAt!.Value - proven.LastEndedAt!.Value, TimeSpan.FromHours(5), TimeSpan.FromHours(7));
        Assert.Equal(0, again.LastReport!.Rows);
        await host.StopAsync();
    }

    [Fact]
    public async Task A_run_that_is_asked_for_does_not_wait_for_its_time()
    {
        using var host = await StartAsync(o => o.Interval = TimeSpan.FromDays(7));
        var schedule = Schedule(host);
        await UntilAsync(schedule, s => s is { LastOutcome: not null, IsRunning: false }, TimeSpan.Zero);
        await JobFaultTests.RotateAsync(_target);
        schedule.RequestRun();
        schedule.RequestRun();
        var status = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Proven, TimeSpan.Zero);
        Assert.Equal((Rows, _time.GetUtcNow()), (status.LastReport!.Rows, status.LastStartedAt));
        await host.StopAsync();
    }

    [Fact]
    public async Task A_host_that_stops_finishes_the_batch_and_the_next_one_does_the_rest()
    {
        await JobFaultTests.RotateAsync(_target);
        Task? stopped = null;
        IHost? host = null;
        using (host = await StartAsync(o => o.Job = Job with
        {
            // The pause behind the batch is longer than the test: only the stop ends it.
            Pause = TimeSpan.FromHours(1),
            FaultPoint = async step =>
            {
                if (step == JobStep.Written && stopped is null)
                {
                    stopped = host!.StopAsync();
                    await WaitAsync(host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping);
                }
            },
        }, start: false))
        {
            await host.StartAsync();
            var status = await UntilAsync(Schedule(host), s => s.LastOutcome is not null, TimeSpan.Zero);
            await stopped!;
            Assert.Equal((ReencryptionOutcome.Stopped, null, 10L), (status.LastOutcome, status.LastError, status.Progress!.Done));
        }

        Assert.Equal(2 * (Rows - 10), await JobFaultTests.StaleAsync(_target));
        using var next = await StartAsync();
        var rest = await UntilAsync(Schedule(next), s => s.LastOutcome == ReencryptionOutcome.Proven, TimeSpan.Zero);
        Assert.Equal((Rows - 10L, Rows), (rest.LastReport!.Rows, rest.LastReport.Completion.JobRows));
        await next.StopAsync();
    }

    [Fact]
    public async Task A_run_that_fails_is_made_again_when_it_is_due_and_the_host_goes_on()
    {
        await JobFaultTests.RotateAsync(_target);
        await ExecuteAsync("ALTER TABLE \"EnvelopeJobs\" RENAME TO \"Away\"");
        using var host = await StartAsync();
        var schedule = Schedule(host);
        var failed = await UntilAsync(schedule, s => s.LastOutcome is not null, TimeSpan.Zero);
        Assert.Equal((ReencryptionOutcome.Failed, 1), (failed.LastOutcome, failed.FailuresInARow));
        Assert.Contains("EnvelopeJobs", Assert.IsType<EnvelopeConfigurationException>(failed.LastError).Message, StringComparison.Ordinal);
        Assert.Equal(HealthStatus.Degraded, await HealthAsync(host));

        await UntilAsync(schedule, s => s is { FailuresInARow: >= 3, IsRunning: false });
        Assert.Equal(HealthStatus.Unhealthy, await HealthAsync(host));
        Assert.False(host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested);

        await ExecuteAsync("ALTER TABLE \"Away\" RENAME TO \"EnvelopeJobs\"");
        var healed = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Proven);
        Assert.Equal((0, null), (healed.FailuresInARow, healed.LastError));
        Assert.Equal(HealthStatus.Healthy, await HealthAsync(host));
        await host.StopAsync();
    }

    [Fact]
    public async Task Two_hosts_share_the_units_and_no_row_is_done_twice()
    {
        await Loader.RunAsync(_target, 300, 2, ["Paper"]);
        await JobFaultTests.RotateAsync(_target);
        using var one = await StartAsync();
        using var two = await StartAsync();
        var first = await UntilAsync(Schedule(one), s => s.LastOutcome is not null, TimeSpan.Zero);
        var second = await UntilAsync(Schedule(two), s => s.LastOutcome is not null, TimeSpan.Zero);
        Assert.Equal((ReencryptionOutcome.Proven, ReencryptionOutcome.Proven), (first.LastOutcome, second.LastOutcome));
        Assert.Equal(Rows + 300L, first.LastReport!.Rows + second.LastReport!.Rows);
        Assert.Equal(0, await JobFaultTests.StaleAsync(_target));
        await Task.WhenAll(one.StopAsync(), two.StopAsync());
    }

    [Fact]
    public async Task A_cell_in_quarantine_degrades_health_and_is_looked_at_again_after_a_day_not_every_hour()
    {
        await JobFaultTests.RotateAsync(_target);
        await ExecuteAsync(provider == "PostgreSQL" ? "UPDATE \"Items\" SET \"First\" = substr(\"First\", 1, 40) WHERE \"Number\" = 3" : "UPDATE \"Items\" SET \"First\" = CAST(substr(\"First\", 1, 40) AS BLOB) WHERE \"Number\" = 3");
        using var host = await StartAsync();
        var schedule = Schedule(host);
        var first = await UntilAsync(schedule, s => s.LastOutcome is not null, TimeSpan.Zero);
        Assert.Equal((ReencryptionOutcome.Quarantined, 1L), (first.LastOutcome, first.LastReport!.Quarantined));
        Assert.Equal(HealthStatus.Degraded, await HealthAsync(host));

        // Runs that read no table meanwhile change nothing about it.
        var saved = await UntilAsync(schedule, s => s.LastStartedAt > first.LastStartedAt && !s.IsRunning, TimeSpan.FromHours(1));
        Assert.Equal((ReencryptionOutcome.Quarantined, first.LastReport), (saved.LastOutcome, saved.LastReport));
        Assert.Equal(HealthStatus.Degraded, await HealthAsync(host));

        var again = await UntilAsync(schedule, s => s.LastOutcome == ReencryptionOutcome.Quarantined && s.LastReport != first.LastReport, TimeSpan.FromHours(1));
        Assert.InRange(again.LastStartedAt!.Value - first.LastEndedAt!.Value, TimeSpan.FromHours(24), TimeSpan.FromHours(27));
        await host.StopAsync();
    }

    [Fact]
    public async Task A_row_key_that_alone_was_reported_compromised_is_found_too()
    {
        await Loader.RunAsync(_target, 5, 2, ["Card"]);
        await using (var context = _target.CreateContext())
        {
            var keys = new EnvelopeKeys(context);
            var row = (await keys.ListAsync(includeRowKeys: true)).First(k => k.Scope.StartsWith("row:", StringComparison.Ordinal));
            await keys.ReportCompromisedAsync(row.Id, "test");
        }

        using var host = await StartAsync();
        var status = await UntilAsync(Schedule(host), s => s.LastOutcome is not null, TimeSpan.Zero);
        Assert.Equal((ReencryptionOutcome.Proven, 1L), (status.LastOutcome, status.LastReport!.Rows));
        await host.StopAsync();
    }

    [Fact]
    public async Task A_row_key_that_an_import_retired_under_a_kek_that_seals_is_found_too()
    {
        await Loader.RunAsync(_target, 5, 2, ["Card"]);
        await using (var context = _target.CreateContext())
        {
            var keys = new EnvelopeKeys(context);
            using var export = new MemoryStream();
            await keys.ExportAsync(export);
            var row = (await keys.ListAsync(includeRowKeys: true)).First(k => k.Scope.StartsWith("row:", StringComparison.Ordinal));
            await ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"Reason\" = 'changed' WHERE \"Scope\" = '{row.Scope}'");
            export.Position = 0;
            Assert.Equal(1, (await keys.ImportAsync(export)).Changed);
            Assert.Equal(KeyState.Deactivated, (await keys.ListAsync(includeRowKeys: true)).Single(k => k.Id == row.Id).State);
        }

        using var host = await StartAsync();
        var status = await UntilAsync(Schedule(host), s => s.LastOutcome is not null, TimeSpan.Zero);
        Assert.Equal((ReencryptionOutcome.Proven, 1L), (status.LastOutcome, status.LastReport?.Rows));
        await host.StopAsync();
    }

    private static ReencryptionSchedule<LoadContext> Schedule(IHost host) => host.Services.GetRequiredService<ReencryptionSchedule<LoadContext>>();

    private static async Task<HealthStatus> HealthAsync(IHost host) => (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Status;

    private static async Task WaitAsync(CancellationToken token)
    {
        var cancelled = new TaskCompletionSource();
        await using var registration = token.Register(() => cancelled.TrySetResult());
        await cancelled.Task.WaitAsync(TimeSpan.FromSeconds(30), CancellationToken.None);
    }

    private async Task<IHost> StartAsync(Action<ReencryptionScheduleOptions>? configure = null, bool start = true)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Services.AddSingleton<TimeProvider>(_time);
        builder.Services.AddScoped(_ =>
        {
            Interlocked.Increment(ref _scopes);
            return _target.CreateContext();
        });
        builder.Services.AddEnvelopeReencryption<LoadContext>(o =>
        {
            (o.Job, o.Jitter) = (Job, TimeSpan.Zero);
            configure?.Invoke(o);
        });
        builder.Services.AddHealthChecks().AddCheck<ReencryptionHealthCheck<LoadContext>>("re-encryption");
        var host = builder.Build();
        if (start)
        {
            await host.StartAsync();
        }

        return host;
    }

    /// <summary>Puts the test's clock forward until the status is as expected: ten minutes a step, unless told otherwise, and none while a run is under way.</summary>
    private Task<ReencryptionStatus> UntilAsync(ReencryptionSchedule<LoadContext> schedule, Func<ReencryptionStatus, bool> isReached, TimeSpan? step = null) => UntilAsync(_time, schedule, isReached, step);

    internal static async Task<ReencryptionStatus> UntilAsync(FakeTimeProvider time, ReencryptionSchedule<LoadContext> schedule, Func<ReencryptionStatus, bool> isReached, TimeSpan? step = null)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            var status = schedule.Status;
            if (isReached(status))
            {
                return status;
            }

            if (!status.IsRunning && status.LastOutcome is not null && status.NextRunAt > time.GetUtcNow())
            {
                time.Advance(step ?? TimeSpan.FromMinutes(10));
            }

            Assert.False(patience.IsCancellationRequested, $"{time.GetUtcNow():u} {status}");
            await Task.Delay(5, CancellationToken.None);
        }
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        await command.ExecuteNonQueryAsync();
    }
}
