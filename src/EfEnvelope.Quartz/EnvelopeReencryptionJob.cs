using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Quartz;

namespace EfEnvelope.Quartz;

/// <summary>
/// One run of the re-encryption job: <see cref="EnvelopeKeys.ReencryptAsync"/> on a context from the scope that Quartz makes for the firing. Registered by
/// <see cref="EnvelopeReencryptionQuartzExtensions.AddEnvelopeReencryption{TContext}"/>; made by Quartz, one instance a firing. Reads and writes the database.
/// </summary>
/// <remarks>
/// <para>Never runs twice at a time for the same context, in the whole cluster. Where the node dies, another fires it again (<see cref="IJobExecutionContext.Recovering"/>), and takes up what is left.</para>
/// <para>
/// <see cref="IJobExecutionContext.Result"/> is the <see cref="ReencryptionReport"/>, which says whether it is proven, or why not: a run whose end is not proven has not failed. A run that failed
/// raises <see cref="JobExecutionException"/> and is not fired again at once, but by its schedule or by the retry policy that the application gave; its rows so far are re-encrypted.
/// </para>
/// <para>
/// Reports its progress to the scheduler (<see cref="IJobExecutionContext.ReportProgress"/>: every node sees it, about once a second), and after each batch, from any thread, to an
/// <see cref="IProgress{T}"/> of <see cref="ReencryptionProgress"/> if one is registered.
/// </para>
/// </remarks>
[DisallowConcurrentExecution]
public sealed class EnvelopeReencryptionJob : IJob
{
    private readonly IServiceProvider _services;

    /// <summary>For Quartz. No I/O.</summary>
    /// <param name="services">The services of the firing's scope.</param>
    public EnvelopeReencryptionJob(IServiceProvider services) => _services = services ?? throw new ArgumentNullException(nameof(services));

    /// <summary>The job of a context in the scheduler: to fire it now (<c>TriggerJob</c>), to pause it, to ask for it. No I/O.</summary>
    /// <typeparam name="TContext">The context that was registered.</typeparam>
    public static JobKey KeyFor<TContext>()
        where TContext : DbContext
        => new(ReencryptedContext.NameOf(typeof(TContext)), "EfEnvelope");

    /// <summary>Runs the job. The units it works on are rows of the database: stopped or killed, it goes on where it was.</summary>
    /// <param name="context">The firing; its job data, all strings, names the context and the options.</param>
    /// <param name="cancellationToken">Stops after the current batch; the run ends as cancelled.</param>
    /// <exception cref="JobExecutionException">The run failed, the job data cannot be read, or this node does not know the context.</exception>
    /// <exception cref="OperationCanceledException">The scheduler shuts down, or somebody interrupted the job.</exception>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        ReencryptionWindow? window = null;
        try
        {
            var name = context.MergedJobDataMap.TryGetValue(ReencryptedContext.JobDataName, out var value) ? value as string : null;
            var known = _services.GetKeyedService<ReencryptedContext>(name ?? "")
                ?? throw new JobExecutionException($"This node does not know the context '{name}' of the job {context.JobDetail.Key}. No row was changed; call AddEnvelopeReencryption for it on every node of the cluster.");
            var options = ReencryptionJobData.Read(context.MergedJobDataMap);
            var database = (DbContext)_services.GetRequiredService(known.Type);
            window = options.Window;
            context.Result = await new EnvelopeKeys(database).ReencryptAsync(options, new FiringProgress(context, _services.GetService<IProgress<ReencryptionProgress>>()), cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested && window is { StopsOutside: true } && !window.IsOpen(TimeProvider.System.GetUtcNow()))
        {
            // Its window closed: no failure. The next firing goes on.
        }
        catch (Exception error) when (error is not JobExecutionException && (error is not OperationCanceledException || !cancellationToken.IsCancellationRequested))
        {
            throw new JobExecutionException($"Re-encryption failed; what it did stays, the next run goes on from there. {error.Message}", error) { RefireImmediately = false };
        }
    }
}
