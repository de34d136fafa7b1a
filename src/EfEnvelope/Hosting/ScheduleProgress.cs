using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Hosting;

/// <summary>Progress of a run: the status has each batch, the log one every ten seconds. Thread safe.</summary>
internal sealed class ScheduleProgress<TContext>(ReencryptionSchedule<TContext> schedule, string name, TimeProvider time, ILogger logger) : IProgress<ReencryptionProgress>
    where TContext : DbContext
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private long _last = time.GetTimestamp();

    public void Report(ReencryptionProgress value)
    {
        schedule.Update(s => s with { Progress = value });
        lock (_gate)
        {
            if (time.GetElapsedTime(_last) < Interval)
            {
                return;
            }

            _last = time.GetTimestamp();
        }

        ReencryptionLog.Progress(logger, name, value.Table, value.Done, value.ToDo, (long)value.RowsPerSecond);
    }
}
