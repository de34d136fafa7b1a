namespace EfEnvelope.Envelopes;

/// <summary>Envelopes in text columns: "efe1:" and padded standard base64, accepted only in the one spelling that encoding gives (FORMAT, Text armour).</summary>
internal static class TextArmor
{
    public const string Prefix = "efe1:";

    // 28 characters decode to 21 bytes, which hold the 19 bytes up to the key id's end.
    private const int KeyIdCharacters = 28;

    public static int EncodedLength(int envelopeLength) => checked(Prefix.Length + (4 * (int)(((long)envelopeLength + 2) / 3)));

    public static string Encode(ReadOnlySpan<byte> envelope) => string.Create(EncodedLength(envelope.Length), envelope, static (text, bytes) =>
    {
        Prefix.CopyTo(text);
        Convert.TryToBase64Chars(bytes, text[Prefix.Length..], out _);
    });

    /// <exception cref="EnvelopeRefusedException">Not this armour, or another spelling of the same bytes.</exception>
    public static byte[] Decode(ReadOnlySpan<char> text)
    {
        if (text.StartsWith(Prefix, StringComparison.Ordinal))
        {
            var base64 = text[Prefix.Length..];
            var bytes = new byte[base64.Length / 4 * 3];
            if ((base64.Length & 3) == 0 && Convert.TryFromBase64Chars(base64, bytes, out var length) && IsSpelling(base64, bytes.AsSpan(0, length)))
            {
                return length == bytes.Length ? bytes : bytes[..length];
            }
        }

        throw Refusal.Of("the text is no armoured envelope: it must be 'efe1:' and padded base64 without white space, exactly as written. Check that the column was not cut, trimmed or re-encoded.");
    }

    public static bool TryReadKeyId(ReadOnlySpan<char> text, out Guid keyId)
    {
        Span<byte> head = stackalloc byte[KeyIdCharacters / 4 * 3];
        if (text.Length >= EncodedLength(EnvelopeLayout.Overhead) && (text.Length - Prefix.Length & 3) == 0 && text.StartsWith(Prefix, StringComparison.Ordinal)
            && Convert.TryFromBase64Chars(text.Slice(Prefix.Length, KeyIdCharacters), head, out var length) && length == head.Length
            && head[0] == EnvelopeLayout.Marker && head[1] == EnvelopeLayout.SuiteXaes256Gcm)
        {
            keyId = EnvelopeLayout.KeyId(head);
            return true;
        }

        keyId = default;
        return false;
    }

    private static bool IsSpelling(ReadOnlySpan<char> base64, ReadOnlySpan<byte> bytes)
    {
        Span<char> chunk = stackalloc char[256];
        while (!bytes.IsEmpty)
        {
            var taken = bytes[..Math.Min(bytes.Length, 192)];
            Convert.TryToBase64Chars(taken, chunk, out var written);
            if (written > base64.Length || !base64[..written].SequenceEqual(chunk[..written]))
            {
                return false;
            }

            bytes = bytes[taken.Length..];
            base64 = base64[written..];
        }

        return base64.IsEmpty;
    }
}
