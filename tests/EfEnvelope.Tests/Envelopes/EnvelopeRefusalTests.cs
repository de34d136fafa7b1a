using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Tests.Envelopes;

[Collection("Randomness")]
public sealed class EnvelopeRefusalTests
{
    private static readonly EnvelopeBinding s_binding = EnvelopeBinding.Create("Customer.Ssn", "tenant:42");

    [Fact]
    public void Every_flipped_bit_every_cut_and_every_extension_is_refused()
    {
        foreach (var backend in EnvelopeVectors.Backends)
        {
            using var key = NewKey(backend);
            foreach (var bucket in new[] { 0, 16 })
            {
                var envelope = EnvelopeCodec.Seal(key, s_binding, "123-45-6789", bucket);
                for (var bit = 0; bit < envelope.Length * 8; bit++)
                {
                    var changed = envelope.ToArray();
                    changed[bit / 8] ^= (byte)(1 << (bit % 8));
                    Refused(() => EnvelopeCodec.Open<string>(key, s_binding, changed));
                }

                for (var length = 0; length < envelope.Length; length++)
                {
                    Refused(() => EnvelopeCodec.Open<string>(key, s_binding, envelope.AsSpan(0, length)));
                }

                for (var more = 1; more <= 32; more++)
                {
                    Refused(() => EnvelopeCodec.Open<string>(key, s_binding, [.. envelope, .. new byte[more]]));
                }

                Assert.Equal("123-45-6789", EnvelopeCodec.Open<string>(key, s_binding, envelope));
            }
        }
    }

    [Fact]
    public void An_envelope_opens_only_at_its_place_with_its_key_as_its_type()
    {
        var material = RandomNumberGenerator.GetBytes(32);
        using var key = DataKey.Import(KeyPurpose.Field, material);
        using var kek = DataKey.Import(KeyPurpose.Kek, material);
        using var other = NewKey(null);
        var envelope = EnvelopeCodec.Seal(key, s_binding, "x");
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("Customer.Name", "tenant:42"), envelope));
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("customer.Ssn", "tenant:42"), envelope));
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("Customer.Ssn", "tenant:43"), envelope));
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("Customer.Ssn", "global"), envelope));
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("Customer.Ssn", "tenant:42", "7"), envelope));
        Refused(() => EnvelopeCodec.Open<byte[]>(key, s_binding, envelope));
        Refused(() => EnvelopeCodec.Open<int>(key, s_binding, envelope));
        Refused(() => EnvelopeCodec.OpenBytes(key, s_binding, ValueEncoding.Json, envelope));
        Refused(() => EnvelopeCodec.Open<string>(kek, s_binding, envelope));
        Refused(() => EnvelopeCodec.Open<string>(other, s_binding, envelope));

        var bound = EnvelopeBinding.Create("Customer.Ssn", "tenant:42", "7");
        var rowBound = EnvelopeCodec.Seal(key, bound, "x");
        Assert.Equal("x", EnvelopeCodec.Open<string>(key, bound, rowBound));
        Refused(() => EnvelopeCodec.Open<string>(key, s_binding, rowBound));
        Refused(() => EnvelopeCodec.Open<string>(key, EnvelopeBinding.Create("Customer.Ssn", "tenant:42", "8"), rowBound));
        Assert.Throws<EnvelopeConfigurationException>(() => EnvelopeBinding.Create("Customer.Ssn", "tenant:42", ""));
    }

    [Fact]
    public void Lone_surrogates_are_refused_and_not_shown()
    {
        using var key = NewKey(null);
        var error = Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.Seal(key, s_binding, "secret\uD800"));
        Assert.DoesNotContain("secret", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Integers_change_width_and_signedness_within_range()
    {
        using var key = NewKey(null);
        Assert.Equal((byte)200, EnvelopeCodec.Open<byte>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, 200L)));
        Assert.Equal(-3L, EnvelopeCodec.Open<long>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, (short)-3)));
        Assert.Equal(DayOfWeek.Friday, EnvelopeCodec.Open<DayOfWeek>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, (ushort)5)));
        Refused(() => EnvelopeCodec.Open<sbyte>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, 128)));
        Refused(() => EnvelopeCodec.Open<int>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, 1L << 31)));
        Refused(() => EnvelopeCodec.Open<ulong>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, -1)));
        Refused(() => EnvelopeCodec.Open<long>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, ulong.MaxValue)));
        Refused(() => EnvelopeCodec.Open<float>(key, s_binding, EnvelopeCodec.Seal(key, s_binding, 0.1d)));
    }

    private static DataKey NewKey(AeadBackend? backend) => DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32), backend);

    private static void Refused(Func<object?> open)
    {
        var error = Assert.Throws<EnvelopeRefusedException>(open);
        Assert.StartsWith("customer.", error.ColumnId, StringComparison.OrdinalIgnoreCase);
        Assert.NotNull(error.KeyId);
    }
}
