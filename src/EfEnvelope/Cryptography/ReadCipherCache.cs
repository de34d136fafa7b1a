using System.Collections.Concurrent;

namespace EfEnvelope.Cryptography;

/// <summary>
/// Bounds what all keys of the process keep of other sessions' sub-keys: the oldest entry makes room. An entry is added only after a tag
/// verified under it, so that forged envelopes cannot displace genuine sessions.
/// </summary>
internal static class ReadCipherCache
{
    public const int Capacity = 4096;
    private static readonly ConcurrentQueue<(ConcurrentDictionary<ulong, SubKeyCipher> Owner, ulong Session, SubKeyCipher Cipher)> s_order = new();
    private static int s_count;

    /// <summary>True if the cipher now belongs to the cache; false if another thread was first.</summary>
    public static bool TryAdd(ConcurrentDictionary<ulong, SubKeyCipher> owner, ulong session, SubKeyCipher cipher)
    {
        if (!owner.TryAdd(session, cipher))
        {
            return false;
        }

        s_order.Enqueue((owner, session, cipher));
        if (Interlocked.Increment(ref s_count) > Capacity && s_order.TryDequeue(out var oldest))
        {
            Interlocked.Decrement(ref s_count);
            if (oldest.Owner.TryRemove(new(oldest.Session, oldest.Cipher)))
            {
                oldest.Cipher.Retire();
            }
        }

        return true;
    }
}
