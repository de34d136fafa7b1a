namespace EfEnvelope;

/// <summary>The moment from which no new cell can name a stale key. Immutable.</summary>
/// <param name="SealingStoppedAt">UTC; when the last stale key's state changed. Null when no key is retired.</param>
/// <param name="SealingLeaseMilliseconds">How much longer a process may seal that has not heard of it.</param>
/// <param name="WaitedMilliseconds">How long this run waited for the lease's end and for older transactions.</param>
/// <param name="WaitedFor">What was waited for.</param>
/// <param name="IsReached">Whether all of it was over before the census began.</param>
/// <param name="NotReachedBecause">Why not; null when it was reached.</param>
public sealed record CompletionCutOff(DateTimeOffset? SealingStoppedAt, long SealingLeaseMilliseconds, long WaitedMilliseconds, string WaitedFor, bool IsReached, string? NotReachedBecause);
