using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Envelopes;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Cryptography;

[Collection("Randomness")]
public sealed class DataKeyTests
{
    private static readonly EnvelopeBinding s_binding = EnvelopeBinding.Create("Customer.Ssn", "tenant:42");

    /// <summary>In sum of the machine's backends.</summary>
    [Fact]
    public void Eight_threads_on_one_key_never_get_a_wrong_value_in_ten_million_round_trips()
    {
        const int Threads = 8;
        const int RoundTrips = 10_000_000;
        var share = RoundTrips / EnvelopeVectors.Backends.Count;
        foreach (var backend in EnvelopeVectors.Backends)
        {
            using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32), backend);
            var wrong = 0;
            var right = 0;
            var threads = Enumerable.Range(0, Threads).Select(t => new Thread(() =>
            {
                var (ownRight, ownWrong) = (0, 0);
                for (long i = 0; i < share / Threads; i++)
                {
                    var value = (i << 8) | (uint)t;
                    if (EnvelopeCodec.Open<long>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, value)) == value)
                    {
                        ownRight++;
                    }
                    else
                    {
                        ownWrong++;
                    }
                }

                Interlocked.Add(ref right, ownRight);
                Interlocked.Add(ref wrong, ownWrong);
            })).ToArray();
            Array.ForEach(threads, t => t.Start());
            Array.ForEach(threads, t => t.Join());
            Assert.Equal((share, 0), (right, wrong));
        }
    }

    [Fact]
    public void Disposing_a_key_in_use_lets_each_operation_finish_or_fail_with_a_disposed_error()
    {
        foreach (var backend in EnvelopeVectors.Backends)
        {
            for (var round = 0; round < 50; round++)
            {
                var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32), backend);
                var envelope = EnvelopeCodec.Seal(key, s_binding, "value");
                var failures = new List<Exception>();
                using var started = new CountdownEvent(4);
                var threads = Enumerable.Range(0, 4).Select(_ => new Thread(() =>
                {
                    started.Signal();
                    try
                    {
                        while (true)
                        {
                            Assert.Equal("value", EnvelopeCodec.Open<string>(key, s_binding, envelope));
                            EnvelopeCodec.Seal(key, s_binding, "other");
                        }
                    }
                    catch (Exception e)
                    {
                        lock (failures)
                        {
                            failures.Add(e);
                        }
                    }
                })).ToArray();
                Array.ForEach(threads, t => t.Start());
                started.Wait();
                key.Dispose();
                Array.ForEach(threads, t => t.Join());
                Assert.Equal(4, failures.Count);
                Assert.All(failures, f => Assert.IsType<ObjectDisposedException>(f));
                Assert.True(key.IsDisposed);
                Assert.Throws<ObjectDisposedException>(() => key.CopyMaterialTo(new byte[32]));
            }
        }
    }

    [Fact]
    public void The_write_session_is_renewed_by_messages_blocks_age_and_reset()
    {
        var time = new FakeTimeProvider();
        using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32), null, time);
        var first = NextSession(key);
        Assert.Equal(first, NextSession(key));

        key.CurrentSession!.Advance(WriteSession.MaxMessages, 0);
        var second = NextSession(key);
        Assert.NotEqual(first, second);

        key.CurrentSession!.Advance(0, WriteSession.MaxBlocks);
        var third = NextSession(key);
        Assert.NotEqual(second, third);

        time.Advance(TimeSpan.FromHours(24));
        var fourth = NextSession(key);
        Assert.NotEqual(third, fourth);

        EnvelopeRandomness.Reset();
        Assert.NotEqual(fourth, NextSession(key));
    }

    [Fact]
    public void A_key_reads_sessions_of_other_processes_and_keeps_a_bounded_number()
    {
        var material = RandomNumberGenerator.GetBytes(32);
        using var reader = DataKey.Import(KeyPurpose.Field, material);
        byte[]? oldest = null;
        for (var i = 0; i < ReadCipherCache.Capacity + 100; i++)
        {
            var sessionAndNonce = RandomNumberGenerator.GetBytes(20);
            var envelope = EnvelopeCodec.Seal(reader, s_binding, i, 0, sessionAndNonce);
            oldest ??= envelope;
            Assert.Equal(i, EnvelopeCodec.Open<int>(reader, s_binding, envelope));
        }

        Assert.InRange(reader.KeptReaders, 1, ReadCipherCache.Capacity);
        Assert.Equal(0, EnvelopeCodec.Open<int>(reader, s_binding, oldest));
    }

    [Fact]
    public void A_forged_envelope_is_not_remembered()
    {
        using var key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32));
        var forged = EnvelopeCodec.Seal(key, s_binding, 1, 0, RandomNumberGenerator.GetBytes(20));
        forged[^1] ^= 1;
        Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.Open<int>(key, s_binding, forged));
        Assert.Equal(0, key.KeptReaders);
    }

    [Fact]
    public void Libsodium_is_refused_where_fips_is_required()
    {
        Assert.Throws<EnvelopeConfigurationException>(() => CipherBackends.Select(CipherBackend.Libsodium, requireFips: true));
        Assert.Equal(CipherBackend.Bcl, CipherBackends.Select(CipherBackend.Automatic, requireFips: true).Kind);
    }

    private static ulong NextSession(DataKey key)
    {
        EnvelopeCodec.Seal(key, s_binding, 1);
        return key.CurrentSession!.Id;
    }
}
