using Microsoft.EntityFrameworkCore;

namespace EfEnvelope;

/// <summary>What the hosted service of a context did last and does now, for health checks and pages of status. A singleton of the container; thread safe, without I/O.</summary>
/// <typeparam name="TContext">The context.</typeparam>
public sealed class ReencryptionSchedule<TContext>
    where TContext : DbContext
{
    private readonly SemaphoreSlim _requests = new(0, 1);
    private ReencryptionStatus _status = new();

    internal ReencryptionSchedule()
    {
    }

    /// <summary>A snapshot of this moment.</summary>
    public ReencryptionStatus Status => Volatile.Read(ref _status);

    /// <summary>
    /// Asks for a run now, after a rotation for instance, instead of at the next due time; while one is under way, another follows it. Outside of the window it waits for its opening. Any number of requests before a run is one. Returns at once.
    /// </summary>
    public void RequestRun()
    {
        lock (_requests)
        {
            if (_requests.CurrentCount == 0)
            {
                _requests.Release();
            }
        }
    }

    /// <summary>Waits for a request, up to a time; true when there was one, which is taken.</summary>
    internal async Task<bool> WaitForRequestAsync(TimeSpan atMost, TimeProvider time, CancellationToken cancellationToken)
    {
        using var due = new CancellationTokenSource(atMost > TimeSpan.Zero ? atMost : TimeSpan.Zero, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(due.Token, cancellationToken);
        try
        {
            await _requests.WaitAsync(either.Token).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    internal void Update(Func<ReencryptionStatus, ReencryptionStatus> change)
    {
        while (true)
        {
            var before = Status;
            if (Interlocked.CompareExchange(ref _status, change(before), before) == before)
            {
                return;
            }
        }
    }
}
