using System.Collections.Concurrent;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Tests.Keys;

/// <summary>A real key service that counts, waits and fails on demand.</summary>
internal sealed class ScriptedKeyService(IKeyManagementService? inner = null) : IKeyManagementService
{
    private readonly IKeyManagementService _inner = inner ?? new InMemoryKeyManagementService();
    private int _generated;
    private int _unwrapped;
    private int _running;
    private int _mostAtOnce;

    public int Generated => _generated;

    public int Unwrapped => _unwrapped;

    public int Calls => _generated + _unwrapped;

    /// <summary>The most calls that were ever under way at once.</summary>
    public int MostAtOnce => _mostAtOnce;

    /// <summary>The wrapped keys that were unwrapped, by their bytes.</summary>
    public ConcurrentDictionary<string, int> UnwrapsByKey { get; } = new(StringComparer.Ordinal);

    /// <summary>Thrown by every call while it is set.</summary>
    public Func<Exception>? Failure { get; set; }

    /// <summary>Awaited by every unwrapping while it is set.</summary>
    public Func<Task>? Gate { get; set; }

    /// <summary>Awaited by every generation while it is set.</summary>
    public Func<Task>? GenerateGate { get; set; }

    /// <summary>What every unwrapping answers with instead of the key, by the context's purpose and the key, while it is set.</summary>
    public Func<string, byte[], byte[]>? Answer { get; set; }

    public string Provider => _inner.Provider;

    public async Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _generated);
        if (GenerateGate is { } gate)
        {
            await gate();
        }

        Fail();
        return await _inner.GenerateKeyAsync(encryptionContext, cancellationToken);
    }

    public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => _inner.WrapAsync(key, encryptionContext, cancellationToken);

    public async Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _unwrapped);
        UnwrapsByKey.AddOrUpdate(Convert.ToHexString(wrapped.Ciphertext), 1, static (_, n) => n + 1);
        var running = Interlocked.Increment(ref _running);
        InterlockedMax(ref _mostAtOnce, running);
        try
        {
            if (Gate is { } gate)
            {
                await gate();
            }

            Fail();
            var key = await _inner.UnwrapAsync(wrapped, encryptionContext, cancellationToken);
            return Answer?.Invoke(encryptionContext["efenvelope:purpose"], key) ?? key;
        }
        finally
        {
            Interlocked.Decrement(ref _running);
        }
    }

    public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
    {
        Fail();
        return _inner.RewrapAsync(wrapped, encryptionContext, cancellationToken);
    }

    public Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken) => _inner.DescribeRootKeyAsync(cancellationToken);

    private void Fail()
    {
        if (Failure is { } failure)
        {
            throw failure();
        }
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (var seen = Volatile.Read(ref target); seen < value;)
        {
            var found = Interlocked.CompareExchange(ref target, value, seen);
            if (found == seen)
            {
                return;
            }

            seen = found;
        }
    }
}
