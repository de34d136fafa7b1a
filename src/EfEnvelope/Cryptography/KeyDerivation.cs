using System.Security.Cryptography;
using System.Text;

namespace EfEnvelope.Cryptography;

/// <summary>
/// HKDF-Expand (RFC 5869, SHA-256) labels of FORMAT, Keys; and XAES-256-GCM's sub-keys (https://c2sp.org/XAES-256-GCM): with L = AES(K, 0)
/// and K1 = L doubled in GF(2^128), the sub-key for the 12-byte prefix p is AES(K, K1 xor 0001 5800 p) || AES(K, K1 xor 0002 5800 p).
/// </summary>
internal static class KeyDerivation
{
    public static Guid KeyId(KeyPurpose purpose, ReadOnlySpan<byte> material)
    {
        Span<byte> id = stackalloc byte[16];
        Expand(material, "EfEnvelope/v1/key-id\0"u8, Name(purpose), id);
        return new Guid(id, bigEndian: true);
    }

    /// <summary>The AEAD key of a field key or kek; the key under which a mac key authenticates.</summary>
    public static void PurposeKey(KeyPurpose purpose, ReadOnlySpan<byte> material, Span<byte> destination) =>
        Expand(material, "EfEnvelope/v1/"u8, Name(purpose), destination);

    public static void IndexKey(ReadOnlySpan<byte> root, string indexId, Span<byte> destination) =>
        Expand(root, "EfEnvelope/v1/index\0"u8, Encoding.UTF8.GetBytes(indexId), destination);

    public static void XaesSubKey(ReadOnlySpan<byte> key, ReadOnlySpan<byte> prefix, Span<byte> subKey)
    {
        using var aes = Aes.Create();
        aes.SetKey(key);
        Span<byte> k1 = stackalloc byte[16];
        k1.Clear();
        aes.EncryptEcb(k1, k1, PaddingMode.None);
        var carry = 0;
        for (var i = 15; i >= 0; i--)
        {
            var b = k1[i];
            k1[i] = (byte)((b << 1) | carry);
            carry = b >> 7;
        }

        k1[15] ^= (byte)(-carry & 0x87);
        Span<byte> blocks = stackalloc byte[32];
        for (var block = 0; block < 2; block++)
        {
            var m = blocks.Slice(block * 16, 16);
            m[0] = 0;
            m[1] = (byte)(block + 1);
            m[2] = (byte)'X';
            m[3] = 0;
            prefix[..12].CopyTo(m[4..]);
            for (var i = 0; i < 16; i++)
            {
                m[i] ^= k1[i];
            }
        }

        aes.EncryptEcb(blocks, subKey[..32], PaddingMode.None);
        CryptographicOperations.ZeroMemory(k1);
        CryptographicOperations.ZeroMemory(blocks);
    }

    private static ReadOnlySpan<byte> Name(KeyPurpose purpose) => purpose switch
    {
        KeyPurpose.Field => "field"u8,
        KeyPurpose.Kek => "kek"u8,
        KeyPurpose.Index => "index"u8,
        KeyPurpose.Mac => "mac"u8,
        _ => throw new ArgumentOutOfRangeException(nameof(purpose)),
    };

    /// <summary>HKDF-Expand of at most one block; the label and the context stand one behind the other in its info.</summary>
    internal static void Expand(ReadOnlySpan<byte> material, ReadOnlySpan<byte> label, ReadOnlySpan<byte> context, Span<byte> destination)
    {
        // No output here is longer than one block, and that is T(1) = HMAC(key, info || 01): one call of the library, which takes half the time of HKDF.Expand.
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, HMACSHA256.HashSizeInBytes, nameof(destination));
        var length = label.Length + context.Length + 1;
        Span<byte> info = length <= 256 ? stackalloc byte[length] : new byte[length];
        label.CopyTo(info);
        context.CopyTo(info[label.Length..]);
        info[^1] = 1;
        Span<byte> block = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(material, info, block);
        block[..destination.Length].CopyTo(destination);
        CryptographicOperations.ZeroMemory(block);
    }
}
