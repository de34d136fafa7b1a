namespace EfEnvelope;

/// <summary>A row has no tenant, subject or row id to choose its data key by: the property is null or the CLR default, or the ambient tenant is not set. Nothing was written; on read, nothing was returned.</summary>
public sealed class MissingScopeException : EnvelopeEncryptionException
{
    internal MissingScopeException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
