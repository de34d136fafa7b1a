using System.Security.Cryptography;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Hosting;

/// <summary>
/// Re-encrypts on a schedule while the host runs. Instances of the application need not know of each other: their runs join one job and share its units. A run that fails is logged and made again when it is next due.
/// </summary>
internal sealed class ReencryptionService<TContext>(
    IServiceScopeFactory scopes, ReencryptionScheduleOptions options, ReencryptionSchedule<TContext> schedule, TimeProvider time, ILogger<ReencryptionService<TContext>> logger) : BackgroundService
    where TContext : DbContext
{
    /// <summary>What the options are called by, and the log names.</summary>
    public static readonly string Name = typeof(TContext).FullName ?? typeof(TContext).Name;

    private HashSet<Guid> _settled = [];
    private DateTimeOffset _settledUntil;

    /// <summary>What a run ends as that the last one saves: nothing new is stale, or what was to be put right then still is.</summary>
    private ReencryptionOutcome _settledAs;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Due at once, so that a process which is restarted often comes to a run at all.
        var earliest = time.GetUtcNow();
        while (true)
        {
            var due = Timetable.Next(options, earliest, Chance());
            var waiting = schedule.WaitForRequestAsync(due - time.GetUtcNow(), time, stoppingToken);

            // Whoever sees the time may rely on its timer.
            schedule.Update(s => s with { NextRunAt = due });
            var isRequested = await waiting.ConfigureAwait(false);
            stoppingToken.ThrowIfCancellationRequested();
            if (isRequested)
            {
                // Also where it has to wait for the window.
                _settledUntil = DateTimeOffset.MinValue;
            }

            var now = time.GetUtcNow();
            if (options.Window is { } window && !window.IsOpen(now))
            {
                // Asked for outside of the window, or the clock was put forward while this slept: when it opens, then.
                earliest = now;
                continue;
            }

            await RunAsync(stoppingToken).ConfigureAwait(false);
            earliest = Later(now + options.Interval, time.GetUtcNow());
        }
    }

    /// <summary>One run, in a scope of its own. Throws nothing.</summary>
    private async Task RunAsync(CancellationToken stopping)
    {
        schedule.Update(s => s with { IsRunning = true, LastStartedAt = time.GetUtcNow(), Progress = null });
        var outcome = ReencryptionOutcome.Failed;
        ReencryptionReport? report = null;
        Exception? failure = null;
        try
        {
            (outcome, report) = await ReencryptAsync(stopping).ConfigureAwait(false);
        }
        catch (Exception error) when (IsStop(error, stopping))
        {
            outcome = ReencryptionOutcome.Stopped;
            ReencryptionLog.Stopped(logger, Name);
        }
#pragma warning disable CA1031 // The application goes on without this run; the next one is due.
        catch (Exception error)
#pragma warning restore CA1031
        {
            failure = error;
            ReencryptionLog.Failed(logger, error, Name, error.GetType().Name);
        }

        schedule.Update(s => s with
        {
            IsRunning = false, LastEndedAt = time.GetUtcNow(), LastOutcome = outcome, LastReport = report ?? s.LastReport, LastError = failure, FailuresInARow = failure is null ? 0 : s.FailuresInARow + 1,
        });
    }

    /// <summary>The host stops, or the window closed. A time-out of a library below is neither, though it comes as a cancellation.</summary>
    private bool IsStop(Exception error, CancellationToken stopping)
        => stopping.IsCancellationRequested ? error is OperationCanceledException or System.Data.Common.DbException
            : error is OperationCanceledException && options.Window is { } window && !window.IsOpen(time.GetUtcNow());

    private async Task<(ReencryptionOutcome Outcome, ReencryptionReport? Report)> ReencryptAsync(CancellationToken cancellationToken)
    {
        var scope = scopes.CreateAsyncScope();
        await using (scope.ConfigureAwait(false))
        {
            var keys = new EnvelopeKeys(scope.ServiceProvider.GetRequiredService<TContext>());

            // The cheap check: three queries of the ring.
            var retired = await keys.FindRetiredAsync(cancellationToken).ConfigureAwait(false);
            if (retired.Count == 0)
            {
                ReencryptionLog.NothingStale(logger, Name);
                return (ReencryptionOutcome.NothingStale, null);
            }

            if (retired.IsSubsetOf(_settled) && time.GetUtcNow() < _settledUntil)
            {
                ReencryptionLog.Saved(logger, Name, _settledAs, _settledUntil);
                return (_settledAs, null);
            }

            ReencryptionLog.Started(logger, Name, retired.Count);
            var report = await keys.ReencryptAsync(options.JobInWindow, new ScheduleProgress<TContext>(schedule, Name, time, logger), cancellationToken).ConfigureAwait(false);
            if (report.IsProven)
            {
                (_settled, _settledUntil, _settledAs) = (retired, time.GetUtcNow() + options.MaximumProofAge, ReencryptionOutcome.NothingStale);
                ReencryptionLog.Proven(logger, Name, report.Rows, report.Conflicts, report.Elapsed);
                return (ReencryptionOutcome.Proven, report);
            }

            var outcome = report.Quarantined == 0 || report.Blocked.Count > 0 ? ReencryptionOutcome.NotProven : ReencryptionOutcome.Quarantined;
            ReencryptionLog.NotProven(logger, Name, report.Rows, report.Quarantined, report.NotProvenBecause);
            if (report.Quarantined > 0 || report.Blocked.Count > 0)
            {
                // Somebody must act; the tables are not read again and again until then.
                (_settled, _settledUntil, _settledAs) = (retired, time.GetUtcNow() + options.QuarantineInterval, outcome);
            }

            return (outcome, report);
        }
    }

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    private static double Chance() => RandomNumberGenerator.GetInt32(1_000_001) / 1_000_000d;
}
