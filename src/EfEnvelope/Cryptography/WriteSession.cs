namespace EfEnvelope.Cryptography;

/// <summary>One session of sealing under a key: its random id, its sub-key's cipher, and what it has sealed. Limits of FORMAT: 2^24 messages, 2^36 blocks, 24 hours.</summary>
internal sealed class WriteSession(ulong id, SubKeyCipher cipher, long startTimestamp, int generation)
{
    public const long MaxMessages = 1L << 24;
    public const long MaxBlocks = 1L << 36;
    private const int BlockBits = 38;
    private long _used;

    public static TimeSpan MaxAge { get; } = TimeSpan.FromHours(24);

    public ulong Id => id;

    public SubKeyCipher Cipher => cipher;

    /// <summary>Counts one message; false when the session's limits are reached. Both counts share one word, so that a message costs one interlocked addition.</summary>
    public bool TryCount(long blocks, TimeProvider time)
    {
        if (generation != RandomSource.Generation || time.GetElapsedTime(startTimestamp) >= MaxAge)
        {
            return false;
        }

        var used = (ulong)Interlocked.Add(ref _used, (1L << BlockBits) + blocks);
        return used >> BlockBits <= MaxMessages && (long)(used & ((1UL << BlockBits) - 1)) <= MaxBlocks;
    }

    /// <summary>For tests: pretends that so many messages were sealed.</summary>
    internal void Advance(long messages, long blocks) => Interlocked.Add(ref _used, (messages << BlockBits) + blocks);
}
