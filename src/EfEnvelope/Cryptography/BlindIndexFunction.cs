using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace EfEnvelope.Cryptography;

/// <summary>
/// Blind index (FORMAT.md): HMAC-SHA-256 under a key derived from the index root for one index id, cut to b bits. Pure functions.
/// </summary>
internal static class BlindIndexFunction
{
    public const int DefaultBits = 128;

    /// <summary>index key = HKDF-Expand(root, "EfEnvelope/v1/index" || 0x00 || index id, 32).</summary>
    public static byte[] DeriveKey(ReadOnlySpan<byte> root, string indexId)
    {
        var info = Encoding.UTF8.GetBytes($"EfEnvelope/v1/index\0{indexId}");
        var key = new byte[32];
        HKDF.Expand(HashAlgorithmName.SHA256, root, key, info);
        return key;
    }

    /// <summary>The first ceil(b/8) bytes of the HMAC, with the unused low bits of the last byte zero; b is 1-128.</summary>
    public static byte[] Compute(ReadOnlySpan<byte> indexKey, ReadOnlySpan<byte> indexBytes, int bits = DefaultBits)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bits, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bits, 128);
        Span<byte> mac = stackalloc byte[32];
        HMACSHA256.HashData(indexKey, indexBytes, mac);
        var value = mac[..((bits + 7) / 8)].ToArray();
        var unused = (8 - (bits & 7)) & 7;
        value[^1] &= (byte)(0xFF << unused);
        return value;
    }

    /// <summary>Compound index bytes: per part 00 if null, else 01 || 4-byte length || bytes; null when every part is null.</summary>
    public static byte[]? Compound(IReadOnlyList<byte[]?> parts)
    {
        var length = 0;
        var any = false;
        foreach (var part in parts)
        {
            length += part is null ? 1 : 5 + part.Length;
            any |= part is not null;
        }

        if (!any)
        {
            return null;
        }

        var bytes = new byte[length];
        var at = 0;
        foreach (var part in parts)
        {
            if (part is null)
            {
                at++;
                continue;
            }

            bytes[at] = 1;
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(at + 1), part.Length);
            part.CopyTo(bytes, at + 5);
            at += 5 + part.Length;
        }

        return bytes;
    }
}
