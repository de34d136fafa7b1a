namespace EfEnvelope;

/// <summary>A row of the key ring is not what EfEnvelope wrote there: its metadata fails authentication, or its wrapped key unwraps to another key than its id commits to. The key is not used.</summary>
public sealed class KeyRingTamperedException : EnvelopeEncryptionException
{
    internal KeyRingTamperedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
