using EfEnvelope.KeyManagement;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>A key service that refuses one wrapped key, and counts how often it was asked for it.</summary>
internal sealed class RefusingService : IKeyManagementService
{
    private readonly IKeyManagementService _inner = new InMemoryKeyManagementService();
    private int _refusals;

    public byte[]? Refused { get; set; }

    public int Refusals => _refusals;

    /// <summary>Refuses as often as this, and then no more.</summary>
    public int Times { get; set; } = int.MaxValue;

    public string Provider => _inner.Provider;

    public Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => _inner.GenerateKeyAsync(encryptionContext, cancellationToken);

    public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => _inner.WrapAsync(key, encryptionContext, cancellationToken);

    public Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        if (Refused is not { } refused || !wrapped.Ciphertext.AsSpan().SequenceEqual(refused))
        {
            return _inner.UnwrapAsync(wrapped, encryptionContext, cancellationToken);
        }

        if (Interlocked.Increment(ref _refusals) == Times)
        {
            Refused = null;
        }

        throw new KeyRefusedException("The key service says no.");
    }

    public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => _inner.RewrapAsync(wrapped, encryptionContext, cancellationToken);

    public Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken) => _inner.DescribeRootKeyAsync(cancellationToken);
}
