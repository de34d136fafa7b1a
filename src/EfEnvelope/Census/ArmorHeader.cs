using EfEnvelope.Envelopes;

namespace EfEnvelope.Census;

/// <summary>
/// What the front of text armour shows of the key id: the prefix (5 characters), marker, suite and encoding (4), and 21 characters that hold the id's first 126 bits. The last two share a character with what follows, so that four ids
/// begin alike.
/// </summary>
internal static class ArmorHeader
{
    /// <summary>Characters up to the 126th bit.</summary>
    public const int Length = KeyStart + KeyLength;

    /// <summary>Characters before the key id's.</summary>
    public const int KeyStart = 9;

    /// <summary>Characters that show nothing but the key id.</summary>
    public const int KeyLength = 21;

    /// <summary>The characters that show the first 126 bits of a key id.</summary>
    public static string Of(Guid keyId) => Convert.ToBase64String(keyId.ToByteArray(bigEndian: true))[..KeyLength];

    /// <summary>The ids that a cell's text may name, where it begins as armour does; also of one that was cut off behind them.</summary>
    public static bool TryRead(ReadOnlySpan<char> text, out Guid[] candidates)
    {
        candidates = [];
        return text.Length >= Length && text.StartsWith(TextArmor.Prefix, StringComparison.Ordinal) && TryReadKey(text.Slice(KeyStart, KeyLength), out candidates);
    }

    /// <summary>The four ids that begin with these 21 characters.</summary>
    public static bool TryReadKey(ReadOnlySpan<char> key, out Guid[] candidates)
    {
        Span<char> whole = stackalloc char[KeyLength + 3];
        Span<byte> id = stackalloc byte[16];
        candidates = [];
        if (key.Length != KeyLength)
        {
            return false;
        }

        key.CopyTo(whole);
        "A==".CopyTo(whole[KeyLength..]);
        if (!Convert.TryFromBase64Chars(whole, id, out var length) || length != id.Length)
        {
            return false;
        }

        candidates = new Guid[4];
        var last = id[15];
        for (var bits = 0; bits < candidates.Length; bits++)
        {
            id[15] = (byte)(last | bits);
            candidates[bits] = new Guid(id, bigEndian: true);
        }

        return true;
    }
}
