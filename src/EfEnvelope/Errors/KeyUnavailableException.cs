namespace EfEnvelope;

/// <summary>The key service or the key ring cannot be reached (time-out, network, throttling, server fault) and no key within its stated age is held. Transient: retrying later may succeed.</summary>
public sealed class KeyUnavailableException : EnvelopeEncryptionException
{
    internal KeyUnavailableException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
