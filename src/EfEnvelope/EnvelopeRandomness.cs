namespace EfEnvelope;

/// <summary>
/// Hook for environments that copy a running process: AWS Lambda SnapStart, CRIU checkpoints, clones of virtual machines. Two copies that
/// kept the same buffered random bytes would seal with the same nonces, which breaks AES-GCM. All members are thread safe; none does I/O.
/// </summary>
public static class EnvelopeRandomness
{
    private static int _generation;
    private static volatile bool _buffering = true;

    /// <summary>
    /// Whether random bytes are drawn in per-thread batches of at most 512 bytes. Default: <see langword="true"/>. Set to
    /// <see langword="false"/> where a process may be copied at a moment that it cannot learn of: every nonce is then drawn when it is used.
    /// Bytes that were buffered before are dropped. The write session of a key stays random per process start; call <see cref="Reset"/> after a copy.
    /// </summary>
    public static bool Buffering
    {
        get => _buffering;
        set
        {
            _buffering = value;
            Reset();
        }
    }

    internal static int Generation => Volatile.Read(ref _generation);

    /// <summary>
    /// Drops every random byte that any thread has buffered and every key's write session. Call it after a restore, before the first write:
    /// for SnapStart in the after-restore hook. A seal that is under way while it is called starts anew with fresh bytes.
    /// </summary>
    public static void Reset() => Interlocked.Increment(ref _generation);
}
