using System.Buffers.Binary;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>Tests that reset the process's randomness run one after the other.</summary>
[CollectionDefinition("Randomness")]
public sealed class RandomnessCollection;

[Collection("Randomness")]
public sealed class RandomSourceTests
{
    [Fact]
    public void Ten_million_nonces_do_not_repeat()
    {
        // The first 8 of 12 bytes are compared: 10^7 of them repeat by chance with probability 3e-6.
        var seen = new ulong[10_000_000];
        Parallel.For(0, 4, part =>
        {
            Span<byte> nonce = stackalloc byte[12];
            for (var i = part * 2_500_000; i < (part + 1) * 2_500_000; i++)
            {
                RandomSource.Fill(nonce);
                seen[i] = BinaryPrimitives.ReadUInt64BigEndian(nonce);
            }
        });
        Array.Sort(seen);
        var repeats = 0;
        for (var i = 1; i < seen.Length; i++)
        {
            repeats += seen[i] == seen[i - 1] ? 1 : 0;
        }

        Assert.Equal(0, repeats);
    }

    [Fact]
    public void Reset_drops_what_a_thread_has_buffered()
    {
        Span<byte> bytes = stackalloc byte[12];
        RandomSource.Fill(bytes);
        var rest = RandomSource.PeekBuffered();
        Assert.NotEmpty(rest);
        RandomSource.Reset();
        Assert.Empty(RandomSource.PeekBuffered());
        RandomSource.Fill(bytes);
        Assert.True(rest.AsSpan().IndexOf(bytes) < 0);
    }

    [Fact]
    public void Without_buffering_nothing_is_drawn_ahead()
    {
        try
        {
            RandomSource.Buffering = false;
            RandomSource.Fill(stackalloc byte[12]);
            Assert.Empty(RandomSource.PeekBuffered());
        }
        finally
        {
            RandomSource.Buffering = true;
        }
    }
}
