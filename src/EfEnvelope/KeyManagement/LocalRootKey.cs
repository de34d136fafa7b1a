using System.Security.Cryptography;

namespace EfEnvelope.KeyManagement;

/// <summary>A key service whose root key is in this process: the core of the development providers. Thread safe.</summary>
internal abstract class LocalRootKey : IKeyManagementService
{
    public abstract string Provider { get; }

    /// <summary>The root key; throws the typed error where it cannot be had.</summary>
    protected abstract Task<Root> GetRootKeyAsync(CancellationToken cancellationToken);

    public async Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        var key = RandomNumberGenerator.GetBytes(32);
        return new GeneratedKey(key, await WrapAsync(key, encryptionContext, cancellationToken).ConfigureAwait(false));
    }

    public async Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        var root = await GetRootKeyAsync(cancellationToken).ConfigureAwait(false);
        return new WrappedKey(root.Id, ContextBoundWrapper.Wrap(root.Key, key.Span, encryptionContext));
    }

    public async Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        var root = await GetRootKeyAsync(cancellationToken).ConfigureAwait(false);
        if (wrapped.RootKeyId != root.Id)
        {
            throw new KeyRefusedException($"The key ring names root key '{wrapped.RootKeyId}', but the configured {Provider} root key is '{root.Id}'. This ring belongs to another root key; configure that one.");
        }

        return ContextBoundWrapper.Unwrap(root.Key, wrapped.Ciphertext, encryptionContext)
            ?? throw new KeyRingTamperedException($"The {Provider} root key does not accept a wrapped key of the ring: it was made with another encryption context, or was changed. The key is not used.");
    }

    public async Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        var key = await UnwrapAsync(wrapped, encryptionContext, cancellationToken).ConfigureAwait(false);
        try
        {
            return await WrapAsync(key, encryptionContext, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    public async Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken)
    {
        var root = await GetRootKeyAsync(cancellationToken).ConfigureAwait(false);
        return new RootKeyDescription(root.Id, "Enabled", IsUsable: true);
    }

    /// <param name="Id">Names it in the ring.</param>
    /// <param name="Key">32 bytes.</param>
    protected sealed record Root(string Id, byte[] Key);
}
