using System.Buffers;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Envelopes;

/// <summary>
/// Seals values into envelopes and opens them again (FORMAT.md, Sealing). Thread safe; no I/O. One allocation on the common path: the result. Plaintext stands only
/// in the stack, in pooled buffers that are zeroed, or in the result.
/// </summary>
internal static class EnvelopeCodec
{
    private const int StackLimit = 512;

    /// <summary>Seals a scalar. <paramref name="bucket"/>: pads to multiples of this many bytes, 0 for none.</summary>
    public static byte[] Seal<T>(DataKey key, EnvelopeBinding binding, T value, int bucket = 0)
    {
        var length = ValueCodec.GetByteCount(value, binding.ColumnId);
        var envelope = Allocate(length, bucket, binding);
        try
        {
            ValueCodec.Write(value, envelope.AsSpan(EnvelopeHeader.TextOffset, length));
            Finish(key, binding, envelope, ValueCodec.EncodingOf(typeof(T)), length, bucket);
            return envelope;
        }
        catch
        {
            CryptographicOperations.ZeroMemory(envelope);
            throw;
        }
    }

    /// <summary>Seals bytes that are already encoded.</summary>
    public static byte[] SealBytes(DataKey key, EnvelopeBinding binding, ValueEncoding encoding, ReadOnlySpan<byte> plaintext, int bucket = 0)
    {
        var envelope = Allocate(plaintext.Length, bucket, binding);
        try
        {
            plaintext.CopyTo(envelope.AsSpan(EnvelopeHeader.TextOffset));
            Finish(key, binding, envelope, encoding, plaintext.Length, bucket);
            return envelope;
        }
        catch
        {
            CryptographicOperations.ZeroMemory(envelope);
            throw;
        }
    }

    /// <summary>Seals with a given session and nonce: for known answers only, never for data.</summary>
    internal static byte[] SealWith(
        DataKey key, EnvelopeBinding binding, ValueEncoding encoding, ReadOnlySpan<byte> plaintext, int bucket, ReadOnlySpan<byte> session, ReadOnlySpan<byte> nonce)
    {
        var envelope = Allocate(plaintext.Length, bucket, binding);
        plaintext.CopyTo(envelope.AsSpan(EnvelopeHeader.TextOffset));
        Prepare(key, binding, envelope, encoding, plaintext.Length, bucket);
        session.CopyTo(envelope.AsSpan(EnvelopeHeader.SessionOffset));
        nonce.CopyTo(envelope.AsSpan(EnvelopeHeader.NonceOffset));
        var associatedData = new byte[AssociatedDataLength(binding)];
        WriteAssociatedData(envelope, binding, associatedData);
        var span = envelope.AsSpan();
        key.SealWith(session, nonce, span[EnvelopeHeader.TextOffset..^DataKey.TagSize], span[^DataKey.TagSize..], associatedData);
        return envelope;
    }

    /// <summary>Opens a scalar.</summary>
    /// <exception cref="EnvelopeRefusedException">It is not a genuine envelope of this place and type.</exception>
    public static T Open<T>(DataKey key, EnvelopeBinding binding, ReadOnlySpan<byte> envelope)
    {
        var textLength = Check(key, binding, envelope, out var encoding, out var padded);
        if (!ValueCodec.Accepts(typeof(T), encoding))
        {
            throw Refused(binding, key.Id, "its encoding does not fit the property's type");
        }

        byte[]? rented = null;
        var text = textLength <= StackLimit ? stackalloc byte[StackLimit] : (rented = ArrayPool<byte>.Shared.Rent(textLength));
        text = text[..textLength];
        try
        {
            Decrypt(key, binding, envelope, text);
            var length = padded ? Unpad(binding, key.Id, text) : text.Length;
            return ValueCodec.Read<T>(text[..length], encoding, binding.ColumnId, key.Id);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
            if (rented is not null)
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }
    }

    /// <summary>Opens bytes of one encoding.</summary>
    public static byte[] OpenBytes(DataKey key, EnvelopeBinding binding, ValueEncoding expected, ReadOnlySpan<byte> envelope)
    {
        var bytes = OpenBytes(key, binding, envelope, out var encoding);
        if (encoding == expected)
        {
            return bytes;
        }

        CryptographicOperations.ZeroMemory(bytes);
        throw Refused(binding, key.Id, "its encoding does not fit the property's type");
    }

    /// <summary>Opens bytes of whatever encoding: for re-encryption, which keeps it. The caller zeroes them.</summary>
    public static byte[] OpenBytes(DataKey key, EnvelopeBinding binding, ReadOnlySpan<byte> envelope, out ValueEncoding encoding)
    {
        var textLength = Check(key, binding, envelope, out encoding, out var padded);
        var text = new byte[textLength];
        Decrypt(key, binding, envelope, text);
        if (!padded)
        {
            return text;
        }

        try
        {
            return text.AsSpan(0, Unpad(binding, key.Id, text)).ToArray();
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
        }
    }

    /// <summary>The key id of what looks like an envelope of this format (marker, suite, length); says nothing of its authenticity.</summary>
    public static bool TryReadKeyId(ReadOnlySpan<byte> envelope, out Guid keyId)
    {
        if (envelope.Length >= EnvelopeHeader.Overhead && envelope[0] == EnvelopeHeader.Marker && envelope[EnvelopeHeader.SuiteOffset] == EnvelopeHeader.Suite)
        {
            keyId = new Guid(envelope.Slice(EnvelopeHeader.KeyIdOffset, 16), bigEndian: true);
            return true;
        }

        keyId = default;
        return false;
    }

    private static byte[] Allocate(int length, int bucket, EnvelopeBinding binding)
    {
        var padded = bucket == 0 ? length : bucket * (((long)length + 1 + bucket - 1) / bucket);
        return padded <= EnvelopeHeader.MaxTextLength
            ? new byte[EnvelopeHeader.Overhead + (int)padded]
            : throw new EnvelopeRefusedException($"A value of column '{binding.ColumnId}' is longer than 2^30 bytes. Nothing was written.") { ColumnId = binding.ColumnId };
    }

    private static void Prepare(DataKey key, EnvelopeBinding binding, byte[] envelope, ValueEncoding encoding, int length, int bucket)
    {
        envelope[0] = EnvelopeHeader.Marker;
        envelope[EnvelopeHeader.SuiteOffset] = EnvelopeHeader.Suite;
        envelope[EnvelopeHeader.EncodingOffset] = (byte)((byte)encoding | (bucket > 0 ? EnvelopeHeader.PaddedFlag : 0) | (binding.IsRowBound ? EnvelopeHeader.RowBoundFlag : 0));
        key.Id.TryWriteBytes(envelope.AsSpan(EnvelopeHeader.KeyIdOffset), bigEndian: true, out _);
        if (bucket > 0)
        {
            envelope[EnvelopeHeader.TextOffset + length] = 0x80;
        }
    }

    private static void Finish(DataKey key, EnvelopeBinding binding, byte[] envelope, ValueEncoding encoding, int length, int bucket)
    {
        Prepare(key, binding, envelope, encoding, length, bucket);
        var size = AssociatedDataLength(binding);
        byte[]? rented = null;
        var associatedData = size <= StackLimit ? stackalloc byte[StackLimit] : (rented = ArrayPool<byte>.Shared.Rent(size));
        associatedData = associatedData[..size];
        WriteAssociatedData(envelope, binding, associatedData);
        var span = envelope.AsSpan();
        key.Seal(
            span.Slice(EnvelopeHeader.SessionOffset, DataKey.SessionSize),
            span.Slice(EnvelopeHeader.NonceOffset, DataKey.NonceSize),
            span[EnvelopeHeader.TextOffset..^DataKey.TagSize],
            span[^DataKey.TagSize..],
            associatedData);
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static int Check(DataKey key, EnvelopeBinding binding, ReadOnlySpan<byte> envelope, out ValueEncoding encoding, out bool padded)
    {
        if (!TryReadKeyId(envelope, out var keyId))
        {
            throw Refused(binding, null, "it is not an envelope of format 1");
        }

        if (keyId != key.Id)
        {
            throw Refused(binding, keyId, "it names another key");
        }

        var flags = envelope[EnvelopeHeader.EncodingOffset];
        encoding = (ValueEncoding)(flags & EnvelopeHeader.EncodingMask);
        padded = (flags & EnvelopeHeader.PaddedFlag) != 0;
        if (((flags & EnvelopeHeader.RowBoundFlag) != 0) != binding.IsRowBound)
        {
            throw Refused(binding, keyId, binding.IsRowBound ? "it is not bound to a row, as the column is" : "it is bound to a row, as the column is not");
        }

        var length = envelope.Length - EnvelopeHeader.Overhead;
        return length <= EnvelopeHeader.MaxTextLength ? length : throw Refused(binding, keyId, "it is longer than the format allows");
    }

    private static void Decrypt(DataKey key, EnvelopeBinding binding, ReadOnlySpan<byte> envelope, Span<byte> text)
    {
        var size = AssociatedDataLength(binding);
        byte[]? rented = null;
        var associatedData = size <= StackLimit ? stackalloc byte[StackLimit] : (rented = ArrayPool<byte>.Shared.Rent(size));
        associatedData = associatedData[..size];
        WriteAssociatedData(envelope, binding, associatedData);
        var opened = key.TryOpen(
            envelope.Slice(EnvelopeHeader.SessionOffset, DataKey.SessionSize),
            envelope.Slice(EnvelopeHeader.NonceOffset, DataKey.NonceSize),
            envelope[EnvelopeHeader.TextOffset..^DataKey.TagSize],
            envelope[^DataKey.TagSize..],
            associatedData,
            text);
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }

        if (!opened)
        {
            throw Refused(binding, key.Id, "it does not authenticate: it was changed, or was sealed for another column, scope or row");
        }
    }

    private static int Unpad(EnvelopeBinding binding, Guid keyId, ReadOnlySpan<byte> text)
    {
        var end = text.LastIndexOfAnyExcept((byte)0);
        return end >= 0 && text[end] == 0x80 ? end : throw Refused(binding, keyId, "its padding is not well-formed");
    }

    private static int AssociatedDataLength(EnvelopeBinding binding) => 13 + EnvelopeHeader.AuthenticatedLength + binding.Tail.Length;

    private static void WriteAssociatedData(ReadOnlySpan<byte> envelope, EnvelopeBinding binding, Span<byte> target)
    {
        "EfEnvelope/v1"u8.CopyTo(target);
        envelope[..EnvelopeHeader.AuthenticatedLength].CopyTo(target[13..]);
        binding.Tail.CopyTo(target[(13 + EnvelopeHeader.AuthenticatedLength)..]);
    }

    private static EnvelopeRefusedException Refused(EnvelopeBinding binding, Guid? keyId, string why)
        => new($"A value of column '{binding.ColumnId}'{(keyId is { } id ? $" (key {id})" : "")} is refused: {why}. Nothing of it is returned; the stored value is untouched.")
        {
            ColumnId = binding.ColumnId,
            KeyId = keyId,
        };
}
