using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace EfEnvelope;

/// <summary>
/// The hosted service of a context as a health check: <c>services.AddHealthChecks().AddCheck&lt;ReencryptionHealthCheck&lt;BankContext&gt;&gt;("re-encryption")</c>. Degraded after a run that failed, that ended in quarantine, or without the
/// proof; the registration's failure status (unhealthy, unless set) after three failures in a row; else healthy, also before the first run. No I/O; thread safe.
/// </summary>
/// <typeparam name="TContext">The context of <c>AddEnvelopeReencryption</c>.</typeparam>
public sealed class ReencryptionHealthCheck<TContext> : IHealthCheck
    where TContext : DbContext
{
    private const int Failures = 3;

    private readonly ReencryptionSchedule<TContext> _schedule;

    /// <summary>For the container. No I/O.</summary>
    /// <param name="schedule">The container's.</param>
    public ReencryptionHealthCheck(ReencryptionSchedule<TContext> schedule) => _schedule = schedule ?? throw new ArgumentNullException(nameof(schedule));

    /// <summary>Judges the status of this moment. The result's data hold outcome, times and counts, never a value.</summary>
    /// <param name="context">The registration.</param>
    /// <param name="cancellationToken">Not used: nothing is waited for.</param>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        var status = _schedule.Status;
        var (health, text) = status.LastOutcome switch
        {
            ReencryptionOutcome.Failed when status.FailuresInARow >= Failures => (context.Registration.FailureStatus, $"re-encryption failed {status.FailuresInARow} times in a row ({status.LastError?.GetType().Name})"),
            ReencryptionOutcome.Failed => (HealthStatus.Degraded, $"re-encryption failed ({status.LastError?.GetType().Name}); it runs again"),
            ReencryptionOutcome.Quarantined => (HealthStatus.Degraded, $"{status.LastReport?.Quarantined} cell(s) could not be opened: see `envelope quarantine list`"),
            ReencryptionOutcome.NotProven => (HealthStatus.Degraded, $"re-encryption is not proven: {status.LastReport?.NotProvenBecause}"),
            null => (HealthStatus.Healthy, "re-encryption has not run yet"),
            _ => (HealthStatus.Healthy, $"re-encryption: {status.LastOutcome}"),
        };
        var data = new Dictionary<string, object>(StringComparer.Ordinal) { ["isRunning"] = status.IsRunning, ["failuresInARow"] = status.FailuresInARow };
        Add("lastOutcome", status.LastOutcome?.ToString());
        Add("lastEndedAt", status.LastEndedAt);
        Add("nextRunAt", status.NextRunAt);
        Add("done", status.Progress?.Done);
        Add("toDo", status.Progress?.ToDo);
        return Task.FromResult(new HealthCheckResult(health, text, data: data));

        void Add(string name, object? value)
        {
            if (value is not null)
            {
                data[name] = value;
            }
        }
    }
}
