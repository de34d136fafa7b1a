namespace EfEnvelope;

/// <summary>The key service or the key ring cannot be reached (time-out, network, throttling, server fault) and no key within its stated age is held. Transient: retrying later may succeed.</summary>
public sealed class KeyUnavailableException : EnvelopeEncryptionException
{
    internal KeyUnavailableException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>Whether the ring's database did not answer (no connection, time-out), which concerns everybody who asks it: not so what it answered to one of them.</summary>
    internal bool IsRingOutOfReach { get; init; }
}
