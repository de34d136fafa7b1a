using EfEnvelope.KeyManagement;

namespace EfEnvelope.Tests.Lifecycle;

/// <summary>A key service after a change of the root key: wraps with one, unwraps with both.</summary>
internal sealed class TwoRootKeys(IKeyManagementService current, IKeyManagementService former) : IKeyManagementService
{
    public string Provider => current.Provider;

    public Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => current.GenerateKeyAsync(encryptionContext, cancellationToken);

    public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => current.WrapAsync(key, encryptionContext, cancellationToken);

    public async Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => await (wrapped.RootKeyId == (await current.DescribeRootKeyAsync(cancellationToken)).RootKeyId ? current : former).UnwrapAsync(wrapped, encryptionContext, cancellationToken);

    public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => current.RewrapAsync(wrapped, encryptionContext, cancellationToken);

    public Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken) => current.DescribeRootKeyAsync(cancellationToken);
}
