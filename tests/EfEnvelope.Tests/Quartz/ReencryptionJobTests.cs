using System.Collections.Concurrent;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Quartz;
using EfEnvelope.Tests.Reencryption;
using Microsoft.Extensions.DependencyInjection;
using Quartz;

namespace EfEnvelope.Tests.Quartz;

public sealed class SqliteReencryptionJobTests() : ReencryptionJobTests("SQLite");

public sealed class PostgresReencryptionJobTests() : ReencryptionJobTests("PostgreSQL");

/// <summary>One firing of the job, on a scheduler in this process.</summary>
public abstract class ReencryptionJobTests(string provider)
{
    [Fact]
    public async Task A_firing_by_schedule_leaves_the_report_as_its_result()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await Loader.RunAsync(target, 20, 1, ["Item"]);
        await JobFaultTests.RotateAsync(target);
        var (result, error, _) = (await RunAsync(target, "* * * * * ?"))[0];
        Assert.Null(error);
        var report = Assert.IsType<ReencryptionReport>(result);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(20, report.Rows);
    }

    [Fact]
    public async Task A_firing_that_fails_says_why_and_is_not_fired_again_at_once()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var firing = Assert.Single(await RunAsync(database.Target(), "0 0 3 29 2 ?", new JobDataMap()));
        Assert.Null(firing.Result);
        Assert.False(firing.Error!.RefireImmediately);
        Assert.Equal(0, firing.Refires);
        Assert.IsAssignableFrom<EnvelopeEncryptionException>(firing.Error.InnerException);
        Assert.Contains("the next run goes on from there", firing.Error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_firing_that_its_window_stops_has_not_failed_and_treats_no_row()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await Loader.RunAsync(target, 20, 1, ["Item"]);
        await JobFaultTests.RotateAsync(target);

        // An hour that is twelve hours away, whenever the test runs.
        var closed = TimeOnly.FromDateTime(TimeProvider.System.GetUtcNow().UtcDateTime).AddHours(12);
        var window = new ReencryptionWindow(closed, closed.AddHours(1), TimeZoneInfo.Utc) { StopsOutside = true };
        var firing = Assert.Single(await RunAsync(target, "0 0 3 29 2 ?", new JobDataMap { ["Window"] = window.ToString() }));
        Assert.Null(firing.Error);
        Assert.Null(firing.Result);
        Assert.Equal(40, await JobFaultTests.StaleAsync(target));
    }

    [Fact]
    public async Task Job_data_that_cannot_be_read_is_told_by_its_name()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var firing = Assert.Single(await RunAsync(database.Target(), "0 0 3 29 2 ?", new JobDataMap { ["BatchSize"] = "many" }));
        Assert.Contains("'BatchSize' is no Int32", firing.Error!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_are_kept_as_strings_and_come_back_whole()
    {
        var options = new ReencryptionOptions { BatchSize = 7, DegreeOfParallelism = 3, UnitSize = 12_345, Pause = TimeSpan.FromSeconds(1.5), MaxRowsPerSecond = 9, CutOffTimeout = TimeSpan.Zero, SampleSize = 4, UnitLease = TimeSpan.FromMinutes(2), StopGrace = TimeSpan.Zero, MaxReplicaLagBytes = 5, KeyLifetime = TimeSpan.FromDays(9), Window = ReencryptionWindow.Parse("22:00-05:00 Europe/Zurich stop") };
        var data = new JobDataMap();
        foreach (var (name, text) in ReencryptionJobData.Write(options))
        {
            data.Add(name, text);
        }

        Assert.Equal(options, ReencryptionJobData.Read(data));
        Assert.Equal(new ReencryptionOptions(), ReencryptionJobData.Read(new JobDataMap()));
    }

    [Fact]
    public void A_wrong_schedule_is_refused_when_it_is_registered()
        => Assert.ThrowsAny<FormatException>(() => new ServiceCollection().AddQuartz(quartz => quartz.AddEnvelopeReencryption<LoadContext>("every night")));

    /// <summary>Runs a scheduler until a first firing, by its schedule or at once with some data, has ended.</summary>
    private static async Task<List<Firing>> RunAsync(Target target, string cron, JobDataMap? now = null)
    {
        var listener = new Listener();
        var services = new ServiceCollection().AddLogging().AddScoped(_ => target.CreateContext());
        services.AddQuartz(quartz =>
        {
            quartz.ConfigureScheduler(scheduler => scheduler.InstanceName = Guid.NewGuid().ToString());
            quartz.AddJobListener(listener);
            quartz.AddEnvelopeReencryption<LoadContext>(cron, options => options with { CutOffTimeout = TimeSpan.FromSeconds(20) });
        });
        await using var provider = services.BuildServiceProvider();
        var scheduler = await provider.GetRequiredService<ISchedulerFactory>().GetScheduler();
        await scheduler.Start();
        if (now is not null)
        {
            await scheduler.TriggerJob(EnvelopeReencryptionJob.KeyFor<LoadContext>(), now);
        }

        await listener.First.WaitAsync(TimeSpan.FromSeconds(60));
        await scheduler.Shutdown(waitForJobsToComplete: true);
        return [.. listener.Firings];
    }

    private sealed record Firing(object? Result, JobExecutionException? Error, int Refires);

    private sealed class Listener : IJobListener
    {
        private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public string Name => "firings";

        public Task First => _first.Task;

        public ConcurrentQueue<Firing> Firings { get; } = [];

        public ValueTask JobToBeExecuted(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

        public ValueTask JobExecutionVetoed(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

        public ValueTask JobWasExecuted(IJobExecutionContext context, JobExecutionException? jobException, CancellationToken cancellationToken = default)
        {
            Firings.Enqueue(new(context.Result, jobException, context.RefireCount));
            _first.TrySetResult();
            return ValueTask.CompletedTask;
        }
    }
}
