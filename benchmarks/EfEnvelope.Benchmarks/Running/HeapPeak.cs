using System.Diagnostics;

namespace EfEnvelope.Benchmarks.Running;

/// <summary>The most managed memory that some work held, beyond what was there before it; looked at every few milliseconds, so that what is not collected yet counts too.</summary>
internal static class HeapPeak
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(5);

    public static async Task<(long Bytes, TimeSpan Elapsed)> OfAsync(Func<Task> work)
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var peak = before;
        using var stop = new CancellationTokenSource();
        var watch = new Thread(() =>
        {
            while (!stop.Token.WaitHandle.WaitOne(Interval))
            {
                peak = Math.Max(peak, GC.GetTotalMemory(forceFullCollection: false));
            }
        });
        watch.Start();
        var started = Stopwatch.GetTimestamp();
        try
        {
            await work();
        }
        finally
        {
            await stop.CancelAsync();
            watch.Join();
        }

        return (peak - before, Stopwatch.GetElapsedTime(started));
    }
}
