namespace EfEnvelope;

/// <summary>
/// Base of every error that EfEnvelope raises on purpose. Names the entity, property, column id and key id that are known, never a value
/// and never key bytes. Nothing was written, and no plaintext was returned, when one is thrown.
/// </summary>
public abstract class EnvelopeEncryptionException : Exception
{
    private protected EnvelopeEncryptionException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>Display name of the entity type, where one is known.</summary>
    public string? Entity { get; init; }

    /// <summary>Name of the property, where one is known.</summary>
    public string? Property { get; init; }

    /// <summary>Column id that the value is bound to, where one is known.</summary>
    public string? ColumnId { get; init; }

    /// <summary>Id of the key that is concerned, where one is known.</summary>
    public Guid? KeyId { get; init; }
}
