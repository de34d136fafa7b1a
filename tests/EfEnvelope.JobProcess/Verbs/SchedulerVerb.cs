using EfEnvelope.JobProcess.Load;
using EfEnvelope.Quartz;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Quartz;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary>
/// <c>scheduler [--batch N] [--unit N] [--parallel N] [--unit-lease S] [--cut-off S] [--pause S] [--cron E] [--fire 1]</c>: a node of a clustered Quartz scheduler over the database, until SIGTERM. Says
/// <c>READY</c>, then JSON lines: <c>fired</c>, <c>progress</c>, and after each firing <c>report</c>, <c>stopped</c> or <c>error</c>. <c>--fire 1</c> fires the job once, now, beside its schedule.
/// </summary>
internal static class SchedulerVerb
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var target = arguments.Target;
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders().AddSimpleConsole().SetMinimumLevel(LogLevel.Warning);
        builder.Services.AddScoped(_ => target.CreateContext());
        builder.Services.AddSingleton<IProgress<ReencryptionProgress>, JobVerb.Printer>();
        builder.Services.AddQuartz(quartz =>
        {
            quartz.AddJobListener<Listener>();
            quartz.ConfigureScheduler(scheduler =>
            {
                scheduler.InstanceName = "chaos";
                scheduler.GenerateInstanceId = true;
                scheduler.IdleWaitTime = TimeSpan.FromSeconds(1);
            });
            quartz.UsePersistentStore(store =>
            {
                store.UsePostgres(NpgsqlFactory.Instance, target.ConnectionString);
                store.UseSystemTextJsonSerializer();
                store.ProvisionSchema();
                store.UseClustering(cluster =>
                {
                    cluster.CheckinInterval = TimeSpan.FromSeconds(1);
                    cluster.CheckinMisfireThreshold = TimeSpan.FromSeconds(2);
                });
            });
            quartz.AddEnvelopeReencryption<LoadContext>(arguments.Text("cron", "0 0 3 29 2 ?"), options => options with
            {
                BatchSize = (int)arguments.Number("batch", 500),
                UnitSize = (int)arguments.Number("unit", 20_000),
                DegreeOfParallelism = (int)arguments.Number("parallel", 2),
                UnitLease = arguments.Seconds("unit-lease", 5),
                CutOffTimeout = arguments.Seconds("cut-off", 60),
                Pause = arguments.Seconds("pause", 0),
            });
        });
        builder.Services.AddQuartzHostedService(hosted => hosted.WaitForJobsToComplete = true);
        using var host = builder.Build();
        await host.StartAsync();
        Console.WriteLine("READY");
        if (arguments.Number("fire", 0) == 1)
        {
            var scheduler = await host.Services.GetRequiredService<ISchedulerFactory>().GetScheduler();
            await scheduler.TriggerJob(EnvelopeReencryptionJob.KeyFor<LoadContext>());
        }

        await host.WaitForShutdownAsync();
        return 0;
    }

    /// <summary>What became of a firing.</summary>
    private sealed class Listener : IJobListener
    {
        public string Name => "lines";

        public ValueTask JobToBeExecuted(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            JobVerb.Print(new { Event = "fired", context.Recovering });
            return ValueTask.CompletedTask;
        }

        public ValueTask JobExecutionVetoed(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

        public ValueTask JobWasExecuted(IJobExecutionContext context, JobExecutionException? jobException, CancellationToken cancellationToken = default)
        {
            if (context.Result is ReencryptionReport report)
            {
                JobVerb.PrintReport(report);
            }
            else if (context.CancellationToken.IsCancellationRequested)
            {
                JobVerb.Print(new { Event = "stopped" });
            }
            else
            {
                JobVerb.Print(new { Event = "error", Message = jobException?.ToString() });
            }

            return ValueTask.CompletedTask;
        }
    }
}
