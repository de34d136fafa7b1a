namespace EfEnvelope;

/// <summary>The key was destroyed or its scope was erased: what it sealed is unreadable for ever, as intended.</summary>
public sealed class KeyDestroyedException : EnvelopeEncryptionException
{
    internal KeyDestroyedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
