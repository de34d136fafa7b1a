namespace EfEnvelope;

/// <summary>The key's state forbids the operation: a compromised or deactivated key never seals, a revoked one no longer opens.</summary>
public sealed class KeyRevokedException : EnvelopeEncryptionException
{
    internal KeyRevokedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
