using System.Buffers.Binary;
using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>The blind index of FORMAT: HMAC-SHA-256 under a key derived per index, cut to b bits; and the encoding of compound values.</summary>
internal static class BlindIndexFunction
{
    public const int DefaultBits = 128;
    public const int MaxBits = 128;

    /// <summary>32 bytes; the caller clears them.</summary>
    public static void DeriveIndexKey(DataKey root, string indexId, Span<byte> destination)
    {
        if (root.Purpose != KeyPurpose.Index)
        {
            throw new InvalidOperationException($"The root of an index key has purpose Index, not {root.Purpose}.");
        }

        Span<byte> material = stackalloc byte[DataKey.MaterialBytes];
        try
        {
            root.CopyMaterialTo(material);
            KeyDerivation.IndexKey(material, indexId, destination[..32]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    public static byte[] Compute(ReadOnlySpan<byte> indexKey, ReadOnlySpan<byte> indexBytes, int bits = DefaultBits)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bits, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bits, MaxBits);
        Span<byte> mac = stackalloc byte[32];
        HMACSHA256.HashData(indexKey, indexBytes, mac);
        var result = mac[..((bits + 7) / 8)].ToArray();
        result[^1] &= (byte)(0xFF << ((8 - (bits & 7)) & 7));
        CryptographicOperations.ZeroMemory(mac);
        return result;
    }

    public static byte[] Compute(DataKey root, string indexId, ReadOnlySpan<byte> indexBytes, int bits = DefaultBits)
    {
        Span<byte> key = stackalloc byte[32];
        try
        {
            DeriveIndexKey(root, indexId, key);
            return Compute(key, indexBytes, bits);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>The index bytes of several parts; null if every part is.</summary>
    public static byte[]? EncodeCompound(IReadOnlyList<byte[]?> parts)
    {
        var length = 0;
        var any = false;
        for (var i = 0; i < parts.Count; i++)
        {
            length = checked(length + 1 + (parts[i] is { } part ? 4 + part.Length : 0));
            any |= parts[i] is not null;
        }

        if (!any)
        {
            return null;
        }

        var result = new byte[length];
        var position = 0;
        for (var i = 0; i < parts.Count; i++)
        {
            if (parts[i] is not { } part)
            {
                position++;
                continue;
            }

            result[position] = 1;
            BinaryPrimitives.WriteInt32BigEndian(result.AsSpan(position + 1), part.Length);
            part.CopyTo(result, position + 5);
            position += 5 + part.Length;
        }

        return result;
    }
}
