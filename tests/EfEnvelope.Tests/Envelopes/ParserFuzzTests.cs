using System.Text;
using CsCheck;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Cryptography;

namespace EfEnvelope.Tests.Envelopes;

/// <summary>Random and broken input for the parsers of envelopes and armour (G8): the value, or the one typed error. eng/soak.sh runs more of it.</summary>
[Collection("Randomness")]
public sealed class ParserFuzzTests
{
    private static readonly int Rounds = 2_000 * Soak.Factor;
    private static readonly byte[] Material = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
    private static readonly EnvelopeBinding Binding = EnvelopeBinding.Create("Customer.Ssn", "tenant:42");

    private static readonly Gen<byte[]> Bytes = Gen.Frequency((8, Gen.Byte.Array[0, 120]), (1, Gen.Byte.Array[0, 3_000]), (1, Gen.Const(Array.Empty<byte>())));

    /// <summary>Cuts, extensions, flips, overwritten and repeated pieces.</summary>
    private static readonly Gen<Func<byte[], byte[]>> Damage = Gen.OneOf(
        Gen.Int[0, 4_000].Select(n => (Func<byte[], byte[]>)(b => b[..(n % (b.Length + 1))])),
        Gen.Byte.Array[1, 40].Select(more => (Func<byte[], byte[]>)(b => [.. b, .. more])),
        Gen.Byte.Array[1, 40].Select(more => (Func<byte[], byte[]>)(b => [.. more, .. b])),
        Gen.Select(Gen.Int[0, 4_000], Gen.Byte[1, 255]).Select((at, with) => (Func<byte[], byte[]>)(b => [.. b.Select((x, i) => i == at % Math.Max(b.Length, 1) ? (byte)(x ^ with) : x)])),
        Gen.Select(Gen.Int[0, 4_000], Gen.Byte.Array[1, 24]).Select((at, with) => (Func<byte[], byte[]>)(b => [.. b[..(at % (b.Length + 1))], .. with, .. b.Skip((at % (b.Length + 1)) + with.Length)])),
        Gen.Select(Gen.Int[0, 4_000], Gen.Int[0, 4_000]).Select((at, n) => (Func<byte[], byte[]>)(b => [.. b[..(at % (b.Length + 1))], .. b.Skip(at % (b.Length + 1)).Take(n % 64), .. b.Skip(at % (b.Length + 1))])));

    [Fact]
    public void Any_bytes_and_any_damage_to_an_envelope_are_refused_as_every_type()
    {
        using var key = DataKey.Import(KeyPurpose.Field, Material);
        Gen.Select(Bytes, Damage, Gen.Int[0, 32]).Sample(
            (bytes, damage, bucket) =>
            {
                AsEveryType(key, bytes, Binding);
                var genuine = EnvelopeCodec.Seal(key, Binding, bytes, bucket);
                var damaged = damage(genuine);
                if (damaged.AsSpan().SequenceEqual(genuine))
                {
                    Assert.Equal(bytes, EnvelopeCodec.Open<byte[]>(key, Binding, damaged));
                }
                else
                {
                    Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.Open<byte[]>(key, Binding, damaged));
                }

                AsEveryType(key, damaged, Binding);
            },
            iter: Rounds,
            threads: 1);
    }

    /// <summary>Authenticated, and still nothing that the format knows: any encoding, flags and padding around any bytes, from somebody who holds the key.</summary>
    [Fact]
    public void Any_plaintext_encoding_and_padding_that_authenticate_give_the_value_or_the_typed_error()
    {
        using var key = DataKey.Import(KeyPurpose.Field, Material);
        var opened = 0;
        var bound = EnvelopeBinding.Create("Customer.Ssn", "tenant:42", "7");
        Gen.Select(Gen.Frequency((3, Gen.Byte.Array[0, 20]), (1, Bytes), (1, Gen.OneOf(Gen.Byte.Array[1], Gen.Byte.Array[4], Gen.Byte.Array[8], Gen.Byte.Array[9], Gen.Byte.Array[10], Gen.Byte.Array[16])), (1, Gen.Byte[0, 1].Array[0, 20])), Gen.Byte, Gen.Byte.Array[20]).Sample(
            (plaintext, encoding, sessionAndNonce) =>
            {
                var envelope = BouncyCastleFormat.Seal(Material, "field", encoding, sessionAndNonce, plaintext, "Customer.Ssn", "tenant:42", (encoding & 0x80) != 0 ? "7" : "");
                opened += AsEveryType(key, envelope, (encoding & 0x80) != 0 ? bound : Binding);
            },
            iter: Rounds,
            threads: 1);
        Assert.True(opened > 0);
    }

    [Fact]
    public void Any_bytes_as_a_wrapped_key_are_refused()
    {
        using var kek = DataKey.Import(KeyPurpose.Kek, Material);
        using var key = DataKey.Import(KeyPurpose.Field, Material);
        Gen.Select(Bytes, Damage, Gen.Byte).Sample(
            (bytes, damage, encoding) =>
            {
                var genuine = EnvelopeCodec.WrapKey(kek, key, "tenant:42");
                var damaged = damage(genuine);
                var ofAnotherLength = BouncyCastleFormat.Seal(Material, "kek", encoding, new byte[20], bytes, "", "tenant:42", key.Id.ToString("N"));
                foreach (var wrapped in new[] { bytes, ofAnotherLength, damaged.AsSpan().SequenceEqual(genuine) ? [] : damaged })
                {
                    Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.UnwrapKey(kek, wrapped, KeyPurpose.Field, key.Id, "tenant:42"));
                }
            },
            iter: Rounds,
            threads: 1);
    }

    [Fact]
    public void Any_text_and_any_damage_to_an_armour_are_refused_or_the_same_bytes()
    {
        Gen.Select(Bytes, Damage, Gen.Char.Array[0, 120]).Sample(
            (bytes, damage, text) =>
            {
                var armor = TextArmor.Encode(bytes);
                Assert.Equal(bytes, TextArmor.Decode(armor));
                foreach (var broken in new[] { new string(text), "efe1:" + new string(text), Encoding.Latin1.GetString(damage(Encoding.Latin1.GetBytes(armor))), Encoding.UTF8.GetString(damage(Encoding.UTF8.GetBytes(armor))) })
                {
                    TextArmor.TryReadKeyId(broken, out _);
                    var refused = Record.Exception(() => Assert.Equal(broken, TextArmor.Encode(TextArmor.Decode(broken))));
                    Assert.True(refused is null or EnvelopeRefusedException, refused?.ToString());
                }
            },
            iter: Rounds,
            threads: 1);
    }

    /// <summary>The formats declare no lengths of their own: what a parser allocates is bounded by what it was given.</summary>
    [Fact]
    public void Sixteen_megabytes_of_nothing_cost_no_more_memory_than_a_few_times_their_size()
    {
        using var key = DataKey.Import(KeyPurpose.Field, Material);
        var bytes = new byte[16 << 20];
        EnvelopeCodec.Seal(key, Binding, 5).CopyTo(bytes, 0);
        string[] texts = ["efe1:" + new string('A', 16 << 20) + " ", "efe1:" + new string('A', 16 << 20) + "===="];
        Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.Open<int>(key, Binding, bytes.AsSpan(0, 64)));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.Open<int>(key, Binding, bytes));
        Assert.All(texts, text => Assert.Throws<EnvelopeRefusedException>(() => TextArmor.Decode(text)));

        // The pool rounds the first one up to 32 megabytes; base64 is three quarters of its text.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4L * (16 << 20));
    }

    /// <summary>How many types the envelope opened as.</summary>
    private static int AsEveryType(DataKey key, byte[] envelope, EnvelopeBinding binding)
    {
        return As<string>() + As<byte[]>() + As<sbyte>() + As<short>() + As<int>() + As<long>() + As<byte>() + As<ushort>() + As<uint>() + As<ulong>() + As<char>() + As<bool>() + As<double>()
            + As<float>() + As<decimal>() + As<Guid>() + As<DateTime>() + As<DateTimeOffset>() + As<DateOnly>() + As<TimeOnly>() + As<TimeSpan>() + As<DayOfWeek>();

        int As<T>()
        {
            try
            {
                // What opens is a value of its type: it encodes again.
                ValueCodec.Encode(EnvelopeCodec.Open<T>(key, binding, envelope));
                return 1;
            }
            catch (EnvelopeRefusedException refused)
            {
                Assert.Equal("Customer.Ssn", refused.ColumnId);
                return 0;
            }
        }
    }
}
