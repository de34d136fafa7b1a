using System.Data.Common;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Renews a unit's lease while its worker is at work, three times in each lease, over a connection of its own: a batch that takes long - a lock, a slow key service, a pause - does not lose its unit. A worker that is dead or
/// suspended renews nothing, and its unit is taken over. Correctness does not rest on it: a checkpoint asks for the fencing token.
/// </summary>
internal sealed class UnitHeartbeat : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _beating;

    public UnitHeartbeat(RingConnection source, JobStore jobs, Guid jobId, JobUnit unit, TimeSpan lease, TimeProvider time)
    {
        // SQLite has one writer: while a batch's transaction is open nobody can claim, and between batches a checkpoint renews.
        _beating = source.IsCallers ? Task.CompletedTask : BeatAsync(source, jobs, jobId, unit, lease, time, _stop.Token);
    }

    private static async Task BeatAsync(RingConnection source, JobStore jobs, Guid jobId, JobUnit unit, TimeSpan lease, TimeProvider time, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(lease / 3, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stop).ConfigureAwait(false))
            {
                try
                {
                    var connection = await source.OpenAsync(stop).ConfigureAwait(false);
                    await using (connection.ConfigureAwait(false))
                    {
                        await jobs.RenewAsync(connection.Connection, jobId, unit, lease, stop).ConfigureAwait(false);
                    }
                }
                catch (Exception error) when (error is DbException or InvalidOperationException or IOException)
                {
                    // The database is away: the worker meets the same, and the lease may end.
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The unit is done.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _beating.ConfigureAwait(false);
        _stop.Dispose();
    }
}
