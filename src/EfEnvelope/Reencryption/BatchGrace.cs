namespace EfEnvelope.Reencryption;

/// <summary>
/// A stop that lets the batch under way finish: what runs between batches watches the stop itself, a batch's transaction this token, which is cancelled only when the grace after the stop is over - then the batch is rolled back.
/// Used by one worker.
/// </summary>
internal sealed class BatchGrace : IDisposable
{
    private readonly CancellationTokenSource _hard;
    private readonly CancellationTokenRegistration _registration;

    public BatchGrace(TimeSpan grace, TimeProvider time, CancellationToken stop)
    {
        _hard = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        _registration = stop.Register(() =>
        {
            if (grace == TimeSpan.Zero)
            {
                _hard.Cancel();
            }
            else
            {
                _hard.CancelAfter(grace);
            }
        });
    }

    /// <summary>For what must not break off with the stop.</summary>
    public CancellationToken Token => _hard.Token;

    public void Dispose()
    {
        // Waits for a callback that is running: none comes after it.
        _registration.Dispose();
        _hard.Dispose();
    }
}
