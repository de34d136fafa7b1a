using System.Buffers;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Envelopes;

/// <summary>Values to envelopes and back. Thread safe. Every refusal is an <see cref="EnvelopeRefusedException"/> that names column and key id.</summary>
internal static class EnvelopeCodec
{
    private const int StackBytes = 512;

    public static byte[] Seal<T>(DataKey key, in EnvelopeBinding binding, T value, int bucket = 0) => Seal(key, binding, value, bucket, default);

    /// <summary>With a given session and nonce (20 bytes): for known answers only.</summary>
    internal static byte[] Seal<T>(DataKey key, in EnvelopeBinding binding, T value, int bucket, ReadOnlySpan<byte> sessionAndNonce)
    {
        CheckPurpose(key, KeyPurpose.Field);
        var length = ValueCodec.EncodedLength(value, binding);
        var envelope = EnvelopeSealer.Begin(key, binding, ValueCodec.Of<T>(), length, bucket);
        ValueCodec.Encode(value, envelope.AsSpan(EnvelopeLayout.BodyOffset, length));
        EnvelopeSealer.Finish(key, binding, envelope, sessionAndNonce);
        return envelope;
    }

    [SkipLocalsInit]
    public static T Open<T>(DataKey key, in EnvelopeBinding binding, ReadOnlySpan<byte> envelope)
    {
        var encoding = CheckHeader(key, binding, envelope, KeyPurpose.Field, out var bodyLength);
        if (!ValueCodec.Reads<T>(encoding))
        {
            throw WrongEncoding(binding, key.Id, encoding, ValueCodec.Of<T>());
        }

        byte[]? rented = null;
        var plaintext = (bodyLength <= StackBytes ? stackalloc byte[StackBytes] : rented = ArrayPool<byte>.Shared.Rent(bodyLength))[..bodyLength];
        try
        {
            var length = EnvelopeSealer.Open(key, binding, envelope, plaintext);
            return ValueCodec.TryDecode<T>(encoding, plaintext[..length], out var value)
                ? value
                : throw Refusal.Of($"the decrypted value is no {typeof(T).Name}: its length or range does not fit. Check that the property's type is the one that was written.", binding, key.Id);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plaintext);
            if (rented is not null)
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }
    }

    public static byte[] SealBytes(DataKey key, in EnvelopeBinding binding, ValueEncoding encoding, ReadOnlySpan<byte> plaintext, int bucket = 0)
    {
        CheckPurpose(key, KeyPurpose.Field);
        if (encoding is < ValueEncoding.Text or > ValueEncoding.Json)
        {
            throw new ArgumentOutOfRangeException(nameof(encoding));
        }

        return EnvelopeSealer.Seal(key, binding, encoding, plaintext, bucket);
    }

    public static byte[] OpenBytes(DataKey key, in EnvelopeBinding binding, ValueEncoding expected, ReadOnlySpan<byte> envelope)
    {
        var encoding = CheckHeader(key, binding, envelope, KeyPurpose.Field, out var bodyLength);
        if (encoding != expected)
        {
            throw WrongEncoding(binding, key.Id, encoding, expected);
        }

        var plaintext = new byte[bodyLength];
        var length = EnvelopeSealer.Open(key, binding, envelope, plaintext);
        if (length == plaintext.Length)
        {
            return plaintext;
        }

        var value = plaintext[..length];
        CryptographicOperations.ZeroMemory(plaintext);
        return value;
    }

    /// <summary>Whether the bytes have an envelope's marker, a known suite and its least length; then the key id that they name. Nothing is verified.</summary>
    public static bool TryReadKeyId(ReadOnlySpan<byte> envelope, out Guid keyId)
    {
        if (envelope.Length is < EnvelopeLayout.Overhead or > EnvelopeLayout.Overhead + EnvelopeLayout.MaxBodyBytes
            || envelope[0] != EnvelopeLayout.Marker || envelope[1] != EnvelopeLayout.SuiteXaes256Gcm)
        {
            keyId = default;
            return false;
        }

        keyId = EnvelopeLayout.KeyId(envelope);
        return true;
    }

    /// <summary>Wraps a key under a kek of the ring; the scope is the wrapped key's.</summary>
    public static byte[] WrapKey(DataKey kek, DataKey key, string scope) => WrapKey(kek, key, scope, default);

    /// <summary>With a given session and nonce (20 bytes): for known answers only.</summary>
    internal static byte[] WrapKey(DataKey kek, DataKey key, string scope, ReadOnlySpan<byte> sessionAndNonce)
    {
        CheckPurpose(kek, KeyPurpose.Kek);
        var binding = EnvelopeBinding.ForWrappedKey(scope, key.Id);
        Span<byte> material = stackalloc byte[DataKey.MaterialBytes];
        try
        {
            key.CopyMaterialTo(material);
            return EnvelopeSealer.Seal(kek, binding, ValueEncoding.WrappedKey, material, 0, sessionAndNonce);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    /// <summary>The inverse of <see cref="WrapKey(DataKey, DataKey, string)"/>; refused unless the key's id, derived again, is the expected one.</summary>
    public static DataKey UnwrapKey(DataKey kek, ReadOnlySpan<byte> wrapped, KeyPurpose purpose, Guid expectedId, string scope)
    {
        var binding = EnvelopeBinding.ForWrappedKey(scope, expectedId);
        var encoding = CheckHeader(kek, binding, wrapped, KeyPurpose.Kek, out var length);
        if (encoding != ValueEncoding.WrappedKey || length != DataKey.MaterialBytes || (wrapped[2] & EnvelopeLayout.PaddedFlag) != 0)
        {
            throw Refusal.Of("the ring's entry holds an envelope that is no wrapped key.", binding, expectedId);
        }

        Span<byte> material = stackalloc byte[DataKey.MaterialBytes];
        try
        {
            EnvelopeSealer.Open(kek, binding, wrapped, material);
            var key = DataKey.Import(purpose, material, kek.Backend, kek.Time);
            if (key.Id == expectedId)
            {
                return key;
            }

            key.Dispose();
            throw Refusal.Of("the wrapped key is not the one that its ring entry names.", binding, expectedId);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    private static ValueEncoding CheckHeader(DataKey key, in EnvelopeBinding binding, ReadOnlySpan<byte> envelope, KeyPurpose purpose, out int bodyLength)
    {
        var encoding = EnvelopeSealer.CheckHeader(key, binding, envelope, out bodyLength);
        return key.Purpose == purpose ? encoding : throw Refusal.Of($"a key of purpose {key.Purpose} does not open it.", binding, key.Id);
    }

    private static void CheckPurpose(DataKey key, KeyPurpose purpose)
    {
        if (key.Purpose != purpose)
        {
            throw new ArgumentException($"A key of purpose {purpose} is needed, not {key.Purpose}.", nameof(key));
        }
    }

    private static EnvelopeRefusedException WrongEncoding(in EnvelopeBinding binding, Guid keyId, ValueEncoding found, ValueEncoding expected) => Refusal.Of(
        $"the envelope holds encoding {(byte)found}, the property needs {(byte)expected}. Check whether the property's type or converter was changed.",
        binding,
        keyId);
}
