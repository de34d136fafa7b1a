namespace EfEnvelope;

/// <summary>The key ring holds no key with this id: a foreign or truncated value, or a ring that was restored from before the key was made.</summary>
public sealed class KeyNotFoundInRingException : EnvelopeEncryptionException
{
    internal KeyNotFoundInRingException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
