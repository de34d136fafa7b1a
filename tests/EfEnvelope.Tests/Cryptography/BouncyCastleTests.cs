using System.Security.Cryptography;
using System.Text;
using CsCheck;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Envelopes;
using Org.BouncyCastle.Crypto;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>Every primitive and the whole format, on random inputs, against a second library (G1).</summary>
public sealed class BouncyCastleTests
{
    private static readonly int Rounds = 1000 * Soak.Factor;

    private static readonly Gen<byte[]> Key = Gen.Byte.Array[32];
    private static readonly Gen<byte[]> Message = Gen.Frequency((9, Gen.Byte.Array[0, 80]), (1, Gen.Byte.Array[0, 3000]));

    [Fact]
    public void AES_256_GCM_of_every_backend_seals_and_opens_as_BouncyCastle_does()
        => Gen.Select(Key, Gen.Byte.Array[12], Message, Message).Sample(
            (key, nonce, plaintext, associatedData) =>
            {
                var expected = BouncyCastleFormat.GcmSeal(key, nonce, plaintext, associatedData);
                foreach (var backend in EnvelopeVectors.Backends)
                {
                    var cipher = backend.CreateCipher(key);
                    var body = new byte[plaintext.Length + 16];
                    cipher.Encrypt(nonce, plaintext, body.AsSpan(0, plaintext.Length), body.AsSpan(plaintext.Length), associatedData);
                    Assert.Equal(expected, body);
                    var opened = new byte[plaintext.Length];
                    Assert.True(cipher.TryDecrypt(nonce, expected.AsSpan(0, plaintext.Length), expected.AsSpan(plaintext.Length), opened, associatedData));
                    Assert.Equal(plaintext, opened);
                    cipher.Retire();
                }
            },
            iter: Rounds,
            threads: 1);

    [Fact]
    public void XAES_sub_keys_are_the_two_CMACs_of_its_definition()
        => Gen.Select(Key, Gen.Byte.Array[12]).Sample(
            (key, prefix) =>
            {
                var own = new byte[32];
                KeyDerivation.XaesSubKey(key, prefix, own);
                Assert.Equal(BouncyCastleFormat.XaesSubKey(key, prefix), own);
            },
            iter: Rounds,
            threads: 1);

    [Fact]
    public void HKDF_expand_and_every_derivation_of_the_format_agree()
        => Gen.Select(Key, Gen.Byte.Array[0, 300], Gen.Byte.Array[0, 300], Gen.Int[1, 32], Gen.String[1, 100]).Sample(
            (key, label, context, length, text) =>
            {
                var own = new byte[length];
                KeyDerivation.Expand(key, label, context, own);
                Assert.Equal(BouncyCastleFormat.HkdfExpand(key, [.. label, .. context], length), own);

                foreach (var (purpose, name) in new[] { (KeyPurpose.Field, "field"), (KeyPurpose.Kek, "kek"), (KeyPurpose.Index, "index"), (KeyPurpose.Mac, "mac") })
                {
                    Assert.Equal(BouncyCastleFormat.KeyId(key, name), DataKey.DeriveId(purpose, key).ToByteArray(bigEndian: true));
                }

                using var root = DataKey.Import(KeyPurpose.Index, key);
                var indexKey = new byte[32];
                BlindIndexFunction.DeriveIndexKey(root, text, indexKey);
                Assert.Equal(BouncyCastleFormat.HkdfExpand(key, [.. "EfEnvelope/v1/index\0"u8, .. Encoding.UTF8.GetBytes(text)], 32), indexKey);
            },
            iter: Rounds,
            threads: 1);

    [Fact]
    public void HMAC_of_blind_indexes_and_of_the_mac_key_agree()
        => Gen.Select(Key, Message).Sample(
            (key, message) =>
            {
                Assert.Equal(BouncyCastleFormat.Hmac(key, message)[..16], BlindIndexFunction.Compute(key, message));
                using var mac = DataKey.Import(KeyPurpose.Mac, key);
                Assert.Equal(BouncyCastleFormat.Hmac(BouncyCastleFormat.HkdfExpand(key, "EfEnvelope/v1/mac"u8.ToArray(), 32), message), mac.ComputeMac(message));
            },
            iter: Rounds,
            threads: 1);

    [Fact]
    public void An_envelope_of_either_implementation_is_byte_for_byte_the_others()
        => Gen.Select(Key, Gen.Byte.Array[20], Message, Gen.Int[0, 40], Gen.String[1, 40], Gen.String[0, 30]).Sample(
            (material, sessionAndNonce, value, bucket, place, row) =>
            {
                var (columnId, scope, rowId) = ("Customer." + place, "tenant:" + place, row.Length == 0 ? null : row);
                var binding = EnvelopeBinding.Create(columnId, scope, rowId);
                var body = bucket == 0 ? value : Padded(value, bucket);
                var flags = (byte)(2 | (bucket == 0 ? 0 : 0x40) | (rowId is null ? 0 : 0x80));
                var expected = BouncyCastleFormat.Seal(material, "field", flags, sessionAndNonce, body, columnId, scope, row);
                foreach (var backend in EnvelopeVectors.Backends)
                {
                    using var key = DataKey.Import(KeyPurpose.Field, material, backend);
                    Assert.Equal(expected, EnvelopeCodec.Seal(key, binding, value, bucket, sessionAndNonce));
                    Assert.Equal(value, EnvelopeCodec.Open<byte[]>(key, binding, expected));

                    var own = EnvelopeCodec.Seal(key, binding, value, bucket);
                    Assert.Equal(body, BouncyCastleFormat.Open(material, "field", own, columnId, scope, row));
                    Assert.Throws<InvalidCipherTextException>(() => BouncyCastleFormat.Open(material, "field", own, columnId, scope + "x", row));
                }
            },
            iter: Rounds,
            threads: 1);

    [Fact]
    public void A_wrapped_key_of_either_implementation_unwraps_by_the_other()
        => Gen.Select(Key, Key, Gen.Byte.Array[20]).Sample(
            (kekMaterial, material, sessionAndNonce) =>
            {
                const string Scope = "row:7c9e6679-7425-40de-944b-e07fc1f90ae7@tenant:42";
                var rowId = Convert.ToHexStringLower(BouncyCastleFormat.KeyId(material, "field"));
                var expected = BouncyCastleFormat.Seal(kekMaterial, "kek", 0xBF, sessionAndNonce, material, "", Scope, rowId);
                foreach (var backend in EnvelopeVectors.Backends)
                {
                    using var kek = DataKey.Import(KeyPurpose.Kek, kekMaterial, backend);
                    using var key = DataKey.Import(KeyPurpose.Field, material, backend);
                    Assert.Equal(expected, EnvelopeCodec.WrapKey(kek, key, Scope, sessionAndNonce));
                    using var unwrapped = EnvelopeCodec.UnwrapKey(kek, expected, KeyPurpose.Field, key.Id, Scope);
                    var again = new byte[32];
                    unwrapped.CopyMaterialTo(again);
                    Assert.Equal(material, again);
                    Assert.Equal(material, BouncyCastleFormat.Open(kekMaterial, "kek", EnvelopeCodec.WrapKey(kek, key, Scope), "", Scope, rowId));
                }
            },
            iter: Rounds,
            threads: 1);

    /// <summary>0x80 and zeros up to a whole number of buckets.</summary>
    private static byte[] Padded(byte[] value, int bucket)
    {
        var padded = new byte[(value.Length + bucket) / bucket * bucket];
        value.CopyTo(padded, 0);
        padded[value.Length] = 0x80;
        return padded;
    }
}
