namespace EfEnvelope.Reencryption;

/// <summary>Counts what all workers of a run did, reports it, and keeps their rate and pauses. Thread safe.</summary>
internal sealed class ProgressMeter(long toDo, ReencryptionOptions options, TimeProvider time, IProgress<ReencryptionProgress>? progress)
{
    private readonly long _started = time.GetTimestamp();
    private readonly Lock _gate = new();
    private long _rows;
    private long _conflicts;
    private long _quarantined;

    /// <summary>Rows of this pass that stay where they are because a key cannot be used.</summary>
    private long _passedOver;
    private long _batches;

    public long Rows => Interlocked.Read(ref _rows);

    public long Conflicts => Interlocked.Read(ref _conflicts);

    public long Quarantined => Interlocked.Read(ref _quarantined);

    public long Batches => Interlocked.Read(ref _batches);

    public DateTimeOffset StartedAt { get; } = time.GetUtcNow();

    public TimeSpan Elapsed => time.GetElapsedTime(_started);

    /// <summary>A new pass comes by what was passed over again.</summary>
    public void BeginPass()
    {
        lock (_gate)
        {
            _passedOver = 0;
        }
    }

    public async Task BatchAsync(string table, long rows, long conflicts, long quarantined, long passedOver, int blocked, CancellationToken cancellationToken)
    {
        ReencryptionProgress report;
        lock (_gate)
        {
            _batches++;
            _rows += rows;
            _conflicts += conflicts;
            _quarantined += quarantined;
            _passedOver += passedOver;
            var seconds = Math.Max(Elapsed.TotalSeconds, 0.001);
            var rate = _rows / seconds;
            var left = Math.Max(0, toDo - _rows - _quarantined - _passedOver);
            report = new ReencryptionProgress(table, _rows, left, rate, rate > 0 ? TimeSpan.FromSeconds(left / rate) : null, _conflicts, _quarantined) { Blocked = blocked };
        }

        progress?.Report(report);
        var pause = options.Pause;
        if (options.MaxRowsPerSecond > 0)
        {
            var ahead = TimeSpan.FromSeconds((double)report.Done / options.MaxRowsPerSecond) - Elapsed;
            pause = ahead > pause ? ahead : pause;
        }

        if (pause > TimeSpan.Zero)
        {
            await Task.Delay(pause, time, cancellationToken).ConfigureAwait(false);
        }
    }
}
