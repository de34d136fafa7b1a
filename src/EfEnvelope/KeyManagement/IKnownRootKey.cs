namespace EfEnvelope.KeyManagement;

/// <summary>A key service that can name its root key without asking anybody.</summary>
internal interface IKnownRootKey
{
    /// <summary>The immutable id of the configured root key; null while it is not known. No I/O.</summary>
    string? KnownRootKeyId { get; }
}
