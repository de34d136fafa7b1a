using EfEnvelope.Hosting;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace EfEnvelope;

/// <summary>Re-encryption as a hosted service.</summary>
public static class EnvelopeReencryptionServiceCollectionExtensions
{
    /// <summary>
    /// Re-encrypts the rows of a context on a schedule while the host runs, whenever a key is retired. Each run has a scope of its own. Stops with the host after the current batch; a run that fails is logged and made again
    /// when it is next due. One run at a time in a host; instances of the application may all have it, and share one job. <see cref="ReencryptionSchedule{TContext}"/> says how it goes.
    /// Uses the container's <see cref="TimeProvider"/>, if there is one. Options are checked when the host starts. No I/O.
    /// </summary>
    /// <typeparam name="TContext">The context, which the container resolves. A second call for the same one adds to its options.</typeparam>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets the schedule; null for the defaults.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddEnvelopeReencryption<TContext>(this IServiceCollection services, Action<ReencryptionScheduleOptions>? configure = null)
        where TContext : DbContext
    {
        ArgumentNullException.ThrowIfNull(services);
        var name = ReencryptionService<TContext>.Name;
        var options = services.AddOptions<ReencryptionScheduleOptions>(name);
        if (configure is not null)
        {
            options.Configure(configure);
        }

        options.PostConfigure(o => o.Validate(name)).ValidateOnStart();
        services.AddLogging();
        services.TryAddSingleton(new ReencryptionSchedule<TContext>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, ReencryptionService<TContext>>(provider => new ReencryptionService<TContext>(
            provider.GetRequiredService<IServiceScopeFactory>(), provider.GetRequiredService<IOptionsMonitor<ReencryptionScheduleOptions>>().Get(name), provider.GetRequiredService<ReencryptionSchedule<TContext>>(),
            provider.GetService<TimeProvider>() ?? TimeProvider.System, provider.GetRequiredService<ILogger<ReencryptionService<TContext>>>())));
        return services;
    }

    /// <summary>
    /// The same, with the schedule from configuration: <c>Interval</c>, <c>Jitter</c>, <c>Window</c> (<c>22:00-05:00 Europe/Zurich</c>), <c>MaximumProofAge</c>, <c>QuarantineInterval</c>, and the job's options under <c>Job</c>. What the section does not name
    /// keeps its default; a name that is no option is an error. Read when the host starts; a later change of the configuration is not followed.
    /// </summary>
    /// <typeparam name="TContext">The context, which the container resolves.</typeparam>
    /// <param name="services">The services.</param>
    /// <param name="configuration">The section.</param>
    /// <param name="configure">Changes what the section says; null for nothing.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddEnvelopeReencryption<TContext>(this IServiceCollection services, IConfiguration configuration, Action<ReencryptionScheduleOptions>? configure = null)
        where TContext : DbContext
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configuration);
        services.AddOptions<ReencryptionScheduleOptions>(ReencryptionService<TContext>.Name).Configure(options => options.Bind(configuration));
        return services.AddEnvelopeReencryption<TContext>(configure);
    }
}
