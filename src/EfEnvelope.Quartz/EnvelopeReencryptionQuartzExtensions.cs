using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Quartz;

namespace EfEnvelope.Quartz;

/// <summary>Re-encryption on a Quartz.NET scheduler.</summary>
public static class EnvelopeReencryptionQuartzExtensions
{
    /// <summary>
    /// Schedules the re-encryption of a context's rows, as a durable job that no two nodes run at a time and that another node takes over when its own dies. With nothing stale a run is one census.
    /// No I/O: the scheduler writes job and trigger to its store when it starts, over those of an earlier start.
    /// </summary>
    /// <remarks>
    /// <para>
    /// Sets for the whole scheduler that a shutdown cancels the running jobs' tokens (<see cref="QuartzSchedulerOptions.ShutdownJobInterruption"/>, Always), and that a persistent store hands such a
    /// firing to another node if its job requests recovery (<see cref="AdoJobStoreOptions.RecoverFiringsCancelledByShutdown"/>). This job stops after its current batch. Other jobs of the scheduler
    /// see their tokens cancelled too; configure both after this call to have it otherwise.
    /// </para>
    /// <para>Clustering needs a persistent store with <c>UseClustering</c> on every node. One call for each context; a second call for the same one replaces the first.</para>
    /// </remarks>
    /// <typeparam name="TContext">The context, registered as a scoped service (AddDbContext, AddDbContextPool, AddDbContextFactory).</typeparam>
    /// <param name="quartz">What AddQuartz hands over.</param>
    /// <param name="cronSchedule">When to run, as Quartz's cron expression (seconds first), in the scheduler's time zone. A firing that was missed, or that fell into a run, is made up for once.</param>
    /// <param name="configure">Changes the options; null for the defaults. They are kept in the store as strings; out of range, each run fails and says so.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="FormatException">The expression is no cron expression.</exception>
    public static IQuartzBuilder AddEnvelopeReencryption<TContext>(this IQuartzBuilder quartz, string cronSchedule, Func<ReencryptionOptions, ReencryptionOptions>? configure = null)
        where TContext : DbContext
    {
        ArgumentNullException.ThrowIfNull(quartz);
        ArgumentException.ThrowIfNullOrWhiteSpace(cronSchedule);
        var cron = new CronExpression(cronSchedule);
        var options = new ReencryptionOptions();
        options = configure?.Invoke(options) ?? options;
        var name = ReencryptedContext.NameOf(typeof(TContext));
        var key = EnvelopeReencryptionJob.KeyFor<TContext>();
        quartz.Services.AddKeyedSingleton(name, new ReencryptedContext(typeof(TContext)));
        quartz.ConfigureScheduler(scheduler => scheduler.ShutdownJobInterruption = ShutdownJobInterruption.Always);
        quartz.ConfigureOptions<AdoJobStoreOptions>(store => store.RecoverFiringsCancelledByShutdown = true);
        quartz.AddJob<EnvelopeReencryptionJob>(job =>
        {
            job.WithIdentity(key).WithDescription($"Re-encrypts the rows of {name}").StoreDurably().RequestRecovery().UsingJobData(ReencryptedContext.JobDataName, name);
            foreach (var (member, value) in ReencryptionJobData.Write(options))
            {
                job.UsingJobData(member, value);
            }
        });
        quartz.AddTrigger<EnvelopeReencryptionJob>(trigger => trigger.WithIdentity(key.Name, key.Group).ForJob(key).WithCronSchedule(cron));
        return quartz;
    }
}
