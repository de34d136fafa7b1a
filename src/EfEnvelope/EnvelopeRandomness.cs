using EfEnvelope.Cryptography;

namespace EfEnvelope;

/// <summary>
/// The hook for hosts that copy running processes: snapshots (Lambda SnapStart), CRIU, clones of virtual machines, forks. Thread safe, process-wide.
/// </summary>
public static class EnvelopeRandomness
{
    /// <summary>
    /// Whether nonces come from per-thread buffers of at most 512 bytes. Default true. Set false where the process may be copied without notice: sealing then costs a system call per value.
    /// </summary>
    public static bool Buffering
    {
        get => RandomSource.Buffering;
        set => RandomSource.Buffering = value;
    }

    /// <summary>Drops all buffered random bytes and sealing sessions. Call it after every restore, before the first value is sealed; no I/O.</summary>
    public static void Reset() => RandomSource.Reset();
}
