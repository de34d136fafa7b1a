using System.Buffers;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Envelopes;

/// <summary>Plaintext bytes to envelopes and back. The envelope's own array holds the plaintext until it is sealed in place, so nothing else is allocated.</summary>
internal static class EnvelopeSealer
{
    private const int StackBytes = 512;

    /// <summary>A new envelope with its header written and room for so many bytes of value; write the value at <see cref="EnvelopeLayout.BodyOffset"/>, then <see cref="Finish"/>.</summary>
    public static byte[] Begin(DataKey key, in EnvelopeBinding binding, ValueEncoding encoding, int length, int bucket)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bucket);
        var body = bucket == 0 ? length : bucket * (((long)length + bucket) / bucket);
        if (body > EnvelopeLayout.MaxBodyBytes)
        {
            throw Refusal.Of("the value is longer than an envelope holds (2^30 bytes with padding). Nothing was written.", binding, key.Id);
        }

        var envelope = new byte[EnvelopeLayout.Overhead + (int)body];
        var flags = (byte)encoding;
        flags |= bucket == 0 ? (byte)0 : EnvelopeLayout.PaddedFlag;
        flags |= binding.IsRowBound ? EnvelopeLayout.RowBoundFlag : (byte)0;
        EnvelopeLayout.WriteHeader(envelope, flags, key.Id);
        if (bucket != 0)
        {
            envelope[EnvelopeLayout.BodyOffset + length] = 0x80;
        }

        return envelope;
    }

    /// <summary>Seals what stands in the envelope's body. A given session and nonce (20 bytes) are for known answers only.</summary>
    [SkipLocalsInit]
    public static void Finish(DataKey key, in EnvelopeBinding binding, byte[] envelope, ReadOnlySpan<byte> sessionAndNonce = default)
    {
        var length = EnvelopeLayout.AssociatedDataLength(binding);
        byte[]? rented = null;
        var associatedData = (length <= StackBytes ? stackalloc byte[StackBytes] : rented = ArrayPool<byte>.Shared.Rent(length))[..length];
        EnvelopeLayout.WriteAssociatedData(associatedData, envelope, binding);
        var header = envelope.AsSpan(EnvelopeLayout.SessionOffset, EnvelopeLayout.SessionAndNonceBytes);
        var body = envelope.AsSpan(EnvelopeLayout.BodyOffset, envelope.Length - EnvelopeLayout.Overhead);
        var tag = envelope.AsSpan(envelope.Length - EnvelopeLayout.TagBytes);
        var done = false;
        try
        {
            if (sessionAndNonce.IsEmpty)
            {
                key.Seal(header, body, tag, associatedData);
            }
            else
            {
                sessionAndNonce.CopyTo(header);
                key.SealWith(header, body, tag, associatedData);
            }

            done = true;
        }
        finally
        {
            if (!done)
            {
                CryptographicOperations.ZeroMemory(envelope);
            }

            if (rented is not null)
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }
    }

    public static byte[] Seal(DataKey key, in EnvelopeBinding binding, ValueEncoding encoding, ReadOnlySpan<byte> plaintext, int bucket = 0, ReadOnlySpan<byte> sessionAndNonce = default)
    {
        var envelope = Begin(key, binding, encoding, plaintext.Length, bucket);
        plaintext.CopyTo(envelope.AsSpan(EnvelopeLayout.BodyOffset));
        Finish(key, binding, envelope, sessionAndNonce);
        return envelope;
    }

    /// <summary>Refuses what cannot be an envelope of this key and binding, before any cryptography; gives the encoding and the body's length.</summary>
    public static ValueEncoding CheckHeader(DataKey key, in EnvelopeBinding binding, ReadOnlySpan<byte> envelope, out int bodyLength)
    {
        if (!EnvelopeCodec.TryReadKeyId(envelope, out var keyId))
        {
            throw Refusal.Of("the value is no envelope that this version reads (marker, suite or length). Check that the column holds what EfEnvelope wrote, uncut.", binding, key.Id);
        }

        if (keyId != key.Id)
        {
            throw Refusal.Of("the envelope names another key than the one it was to be opened with.", binding, keyId);
        }

        if ((envelope[2] & EnvelopeLayout.RowBoundFlag) != 0 != binding.IsRowBound)
        {
            throw Refusal.Of(
                binding.IsRowBound ? "the column is bound to its row, and the envelope is not." : "the envelope is bound to a row, and the column is not.",
                binding,
                keyId);
        }

        bodyLength = envelope.Length - EnvelopeLayout.Overhead;
        return (ValueEncoding)(envelope[2] & EnvelopeLayout.EncodingMask);
    }

    /// <summary>Opens into <paramref name="plaintext"/> (the body's length) and returns the value's length without padding. On refusal the plaintext is cleared.</summary>
    public static int Open(DataKey key, in EnvelopeBinding binding, ReadOnlySpan<byte> envelope, Span<byte> plaintext)
    {
        var opened = TryOpen(key, binding, envelope, plaintext);
        for (var former = binding.Former; !opened && former is { } older; former = older.Former)
        {
            opened = TryOpen(key, older, envelope, plaintext);
        }

        if (!opened)
        {
            throw Refusal.NotGenuine(binding, key.Id);
        }

        if ((envelope[2] & EnvelopeLayout.PaddedFlag) == 0)
        {
            return plaintext.Length;
        }

        var end = plaintext.LastIndexOfAnyExcept((byte)0);
        if (end < 0 || plaintext[end] != 0x80)
        {
            CryptographicOperations.ZeroMemory(plaintext);
            throw Refusal.Of("the value's padding is not what the format prescribes.", binding, key.Id);
        }

        return end;
    }

    [SkipLocalsInit]
    private static bool TryOpen(DataKey key, in EnvelopeBinding binding, ReadOnlySpan<byte> envelope, Span<byte> plaintext)
    {
        var length = EnvelopeLayout.AssociatedDataLength(binding);
        byte[]? rented = null;
        var associatedData = (length <= StackBytes ? stackalloc byte[StackBytes] : rented = ArrayPool<byte>.Shared.Rent(length))[..length];
        EnvelopeLayout.WriteAssociatedData(associatedData, envelope, binding);
        try
        {
            return key.TryOpen(
                envelope.Slice(EnvelopeLayout.SessionOffset, EnvelopeLayout.SessionAndNonceBytes),
                envelope.Slice(EnvelopeLayout.BodyOffset, plaintext.Length),
                envelope[^EnvelopeLayout.TagBytes..],
                plaintext,
                associatedData);
        }
        finally
        {
            if (rented is not null)
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }
    }
}
