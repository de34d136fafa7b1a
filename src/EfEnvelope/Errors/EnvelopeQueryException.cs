namespace EfEnvelope;

/// <summary>A query or bulk update asks the database to work on ciphertext (comparison, ordering, grouping, a function, a server-side expression). Raised when the query is compiled.</summary>
public sealed class EnvelopeQueryException : EnvelopeEncryptionException
{
    internal EnvelopeQueryException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
