namespace EfEnvelope;

/// <summary>The key service answers, and refuses: access denied, root key disabled, pending deletion or unknown, wrong region, invalid state. Retrying does not help until somebody changes it there.</summary>
public sealed class KeyRefusedException : EnvelopeEncryptionException
{
    internal KeyRefusedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
