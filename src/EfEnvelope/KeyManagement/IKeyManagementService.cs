namespace EfEnvelope.KeyManagement;

/// <summary>
/// The service that holds the root key and wraps data keys with it: AWS KMS, or a local key file for development. The root key never
/// leaves it. Implementations are safe for concurrent use, do network or file I/O in every method, retry transient trouble themselves, and throw
/// <see cref="KeyUnavailableException"/> (unreachable), <see cref="KeyRefusedException"/> (refused) or
/// <see cref="KeyRingTamperedException"/> (the wrapped key or its context is not genuine). Plaintext arrays that they return belong to the caller, who zeroes them.
/// </summary>
public interface IKeyManagementService
{
    /// <summary>Short name for messages, metrics and the ring: <c>aws-kms</c>, <c>local</c>, <c>memory</c>.</summary>
    string Provider { get; }

    /// <summary>
    /// Generates a 32-byte data key and wraps it with the configured root key; an alias is resolved to the key's ARN.
    /// </summary>
    /// <param name="encryptionContext">Pairs that are authenticated with the wrapped key and shown in the service's log.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

    /// <summary>Wraps an existing 32-byte key with the configured root key.</summary>
    Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

    /// <summary>
    /// Unwraps a key. <paramref name="wrapped"/>'s root key id is passed to the service and must be the configured root key or a listed
    /// former one, else <see cref="KeyRefusedException"/> is thrown without a call.
    /// </summary>
    /// <returns>The 32 bytes of the key; the caller zeroes them.</returns>
    Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

    /// <summary>
    /// Wraps a wrapped key anew with the configured root key's current material; its plaintext never leaves the service.
    /// </summary>
    Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken);

    /// <summary>Reads the configured root key's identity and state.</summary>
    Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken);
}
