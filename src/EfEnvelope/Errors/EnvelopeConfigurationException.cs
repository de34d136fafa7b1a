namespace EfEnvelope;

/// <summary>The model, the options or the environment cannot be served: an unsupported mapping, two columns with one id, a missing call, an unknown provider. Raised before anything is read or written; the message says what to change.</summary>
public sealed class EnvelopeConfigurationException : EnvelopeEncryptionException
{
    internal EnvelopeConfigurationException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
