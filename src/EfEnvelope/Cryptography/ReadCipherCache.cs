using System.Collections.Concurrent;

namespace EfEnvelope.Cryptography;

/// <summary>
/// Bounds what all keys of the process keep of other sessions' sub-keys: the oldest entry makes room. An entry is added only after a tag
/// verified under it, so that forged envelopes cannot displace genuine sessions. Thread safe.
/// </summary>
internal static class ReadCipherCache
{
    public const int Capacity = 4096;
    private static readonly ConcurrentQueue<KeptReader> s_order = new();
    private static int s_count;

    /// <summary>Adds an entry that its key holds. Not to be called with a key's lock: the one that makes room may be another's.</summary>
    public static void Add(KeptReader kept)
    {
        s_order.Enqueue(kept);
        if (Interlocked.Increment(ref s_count) > Capacity && s_order.TryDequeue(out var oldest))
        {
            Interlocked.Decrement(ref s_count);
            oldest.Owner.Release(oldest);
        }
    }
}

/// <summary>A cipher that a key keeps for one session of other writers.</summary>
internal sealed class KeptReader(DataKey owner, ulong session, SubKeyCipher cipher)
{
    public DataKey Owner => owner;

    public ulong Session => session;

    public SubKeyCipher Cipher => cipher;
}
