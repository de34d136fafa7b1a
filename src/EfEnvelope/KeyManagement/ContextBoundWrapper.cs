using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace EfEnvelope.KeyManagement;

/// <summary>
/// AES-256-GCM under a root key in this process, with the encryption context as associated data: sorted by key, every part length-prefixed, so that no two
/// contexts give the same bytes. Format: 1 version, 12 nonce, 32 ciphertext, 16 tag.
/// </summary>
internal static class ContextBoundWrapper
{
    private const byte Version = 1;
    private const int NonceSize = 12;
    private const int TagSize = 16;

    public static byte[] Wrap(ReadOnlySpan<byte> rootKey, ReadOnlySpan<byte> key, IReadOnlyDictionary<string, string> context)
    {
        var wrapped = new byte[1 + NonceSize + key.Length + TagSize];
        wrapped[0] = Version;
        var nonce = wrapped.AsSpan(1, NonceSize);
        RandomNumberGenerator.Fill(nonce);
        using var gcm = new AesGcm(rootKey, TagSize);
        gcm.Encrypt(nonce, key, wrapped.AsSpan(1 + NonceSize, key.Length), wrapped.AsSpan(wrapped.Length - TagSize), Canonical(context));
        return wrapped;
    }

    /// <returns>The key, or null when it does not authenticate.</returns>
    public static byte[]? Unwrap(ReadOnlySpan<byte> rootKey, ReadOnlySpan<byte> wrapped, IReadOnlyDictionary<string, string> context)
    {
        if (wrapped.Length < 1 + NonceSize + TagSize || wrapped[0] != Version)
        {
            return null;
        }

        var key = new byte[wrapped.Length - 1 - NonceSize - TagSize];
        using var gcm = new AesGcm(rootKey, TagSize);
        try
        {
            gcm.Decrypt(wrapped.Slice(1, NonceSize), wrapped.Slice(1 + NonceSize, key.Length), wrapped[^TagSize..], key, Canonical(context));
            return key;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }

    private static byte[] Canonical(IReadOnlyDictionary<string, string> context)
    {
        var bytes = new List<byte>();
        Span<byte> length = stackalloc byte[4];
        foreach (var (name, value) in context.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            foreach (var part in new[] { name, value })
            {
                var text = Encoding.UTF8.GetBytes(part);
                BinaryPrimitives.WriteInt32BigEndian(length, text.Length);
                bytes.AddRange(length);
                bytes.AddRange(text);
            }
        }

        return [.. bytes];
    }
}
