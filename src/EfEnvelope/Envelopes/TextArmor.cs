namespace EfEnvelope.Envelopes;

/// <summary>Text armour: <c>efe1:</c> and padded standard base64, accepted only in its one canonical form (FORMAT.md, Text armour).</summary>
internal static class TextArmor
{
    public const string Prefix = "efe1:";

    public static int EncodedLength(int envelopeLength) => Prefix.Length + (4 * ((envelopeLength + 2) / 3));

    public static string Encode(ReadOnlySpan<byte> envelope) => string.Concat(Prefix, Convert.ToBase64String(envelope));

    public static byte[] Decode(ReadOnlySpan<char> armor)
    {
        if (!armor.StartsWith(Prefix, StringComparison.Ordinal))
        {
            throw Refused();
        }

        var text = armor[Prefix.Length..];
        var bytes = new byte[(text.Length / 4 * 3) + 3];
        if (text.Length % 4 != 0 || !Convert.TryFromBase64Chars(text, bytes, out var written))
        {
            throw Refused();
        }

        Array.Resize(ref bytes, written);

        // The decoder takes white space and stray bits: only what encodes back to the same characters is armour.
        return text.SequenceEqual(Convert.ToBase64String(bytes)) ? bytes : throw Refused();
    }

    /// <summary>The key id of what looks like armour; says nothing of its authenticity.</summary>
    public static bool TryReadKeyId(ReadOnlySpan<char> armor, out Guid keyId)
    {
        keyId = default;
        Span<byte> head = stackalloc byte[24];
        if (armor.Length < EncodedLength(EnvelopeHeader.Overhead)
            || !armor.StartsWith(Prefix, StringComparison.Ordinal)
            || !Convert.TryFromBase64Chars(armor.Slice(Prefix.Length, 28), head, out _)
            || head[0] != EnvelopeHeader.Marker
            || head[EnvelopeHeader.SuiteOffset] != EnvelopeHeader.Suite)
        {
            return false;
        }

        keyId = new Guid(head.Slice(EnvelopeHeader.KeyIdOffset, 16), bigEndian: true);
        return true;
    }

    private static EnvelopeRefusedException Refused()
        => new("A text value is not armour in its canonical form (efe1: and padded base64). It is not returned; the stored value is untouched.");
}
