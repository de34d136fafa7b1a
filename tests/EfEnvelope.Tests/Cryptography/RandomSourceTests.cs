using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>Tests that reset the process's randomness run one after the other.</summary>
[CollectionDefinition("Randomness")]
public sealed class RandomnessCollection;

[Collection("Randomness")]
public sealed class RandomSourceTests
{
    [Fact]
    public void Ten_million_seals_never_repeat_a_session_and_nonce()
    {
        const int Threads = 4;
        const int Messages = 10_000_000;
        using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32));
        var binding = EnvelopeBinding.Create("Customer.Card", "tenant:42");

        // Stricter than the guarantee, for an eighth of the memory: the first 8 of a nonce's 12 bytes never come twice, whatever the session. By chance they do with probability 3e-6.
        var nonces = new ulong[Messages];
        var sessions = new ConcurrentDictionary<ulong, bool>();
        Parallel.For(0, Threads, new ParallelOptions { MaxDegreeOfParallelism = Threads }, part =>
        {
            var last = 0UL;
            for (var i = part * (Messages / Threads); i < (part + 1) * (Messages / Threads); i++)
            {
                var envelope = EnvelopeCodec.Seal(key, binding, new Guid(i, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
                nonces[i] = BinaryPrimitives.ReadUInt64BigEndian(envelope.AsSpan(27));
                var session = BinaryPrimitives.ReadUInt64BigEndian(envelope.AsSpan(19));
                if (session != last)
                {
                    last = session;
                    sessions[session] = true;
                }
            }
        });
        Array.Sort(nonces);
        var repeats = 0;
        for (var i = 1; i < nonces.Length; i++)
        {
            repeats += nonces[i] == nonces[i - 1] ? 1 : 0;
        }

        Assert.Equal(0, repeats);
        Assert.InRange(sessions.Count, 1, 1 + (Messages / (int)(WriteSession.MaxMessages / 2)));
    }

    [Fact]
    public void After_a_reset_no_thread_seals_with_what_any_thread_had_drawn_before()
    {
        using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32));
        var binding = EnvelopeBinding.Create("Customer.Card", "tenant:42");
        using var filled = new Barrier(5);
        var drawn = new ConcurrentBag<byte[]>();
        var sealedAfter = new ConcurrentBag<byte[]>();
        var sessionBefore = 0UL;
        var threads = Enumerable.Range(0, 4).Select(_ => new Thread(() =>
        {
            EnvelopeCodec.Seal(key, binding, 1);
            drawn.Add(RandomSource.PeekBuffered());
            filled.SignalAndWait();
            filled.SignalAndWait();
            for (var i = 0; i < 100; i++)
            {
                sealedAfter.Add(EnvelopeCodec.Seal(key, binding, i));
            }
        })).ToArray();
        Array.ForEach(threads, t => t.Start());
        filled.SignalAndWait();
        sessionBefore = key.CurrentSession!.Id;
        EnvelopeRandomness.Reset();
        filled.SignalAndWait();
        Array.ForEach(threads, t => t.Join());

        Assert.Equal(4, drawn.Count);
        Assert.All(drawn, bytes => Assert.InRange(bytes.Length, 12, RandomSource.BufferBytes));
        Assert.Equal(400, sealedAfter.Count);
        Assert.All(sealedAfter, envelope =>
        {
            Assert.NotEqual(sessionBefore, BinaryPrimitives.ReadUInt64BigEndian(envelope.AsSpan(19)));
            Assert.DoesNotContain(drawn, bytes => bytes.AsSpan().IndexOf(envelope.AsSpan(27, 12)) >= 0);
        });
    }

    [Fact]
    public void Seals_that_are_under_way_during_resets_open_and_repeat_nothing()
    {
        using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32));
        var binding = EnvelopeBinding.Create("Customer.Card", "tenant:42");
        var envelopes = new byte[2 * 20_000][];
        var ended = 0;
        var resets = 0;
        var threads = Enumerable.Range(0, 2).Select(t => new Thread(() =>
        {
            for (var i = 0; i < 20_000; i++)
            {
                if (i == 10_000)
                {
                    // However threads are scheduled, one reset at least falls between the seals.
                    SpinWait.SpinUntil(() => Volatile.Read(ref resets) > 0);
                }

                envelopes[(t * 20_000) + i] = EnvelopeCodec.Seal(key, binding, i);
            }

            Interlocked.Increment(ref ended);
        })).ToArray();
        Array.ForEach(threads, t => t.Start());
        while (Volatile.Read(ref ended) < 2)
        {
            EnvelopeRandomness.Reset();
            Interlocked.Increment(ref resets);
            Thread.Yield();
        }

        Array.ForEach(threads, t => t.Join());
        Assert.True(resets > 0);
        Assert.Equal(envelopes.Length, envelopes.Select(e => Convert.ToHexString(e, 19, 20)).Distinct().Count());
        for (var i = 0; i < envelopes.Length; i++)
        {
            Assert.Equal(i % 20_000, EnvelopeCodec.Open<int>(key, binding, envelopes[i]));
        }
    }

    [Fact]
    public void Reset_drops_what_a_thread_has_buffered()
    {
        // What this thread drew before may end just behind these bytes.
        RandomSource.Reset();
        Span<byte> bytes = stackalloc byte[12];
        RandomSource.Fill(bytes);
        var rest = RandomSource.PeekBuffered();
        Assert.NotEmpty(rest);
        Assert.InRange(rest.Length, 1, 512);
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
