using System.Globalization;
using System.Text;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Census;

/// <summary>
/// Finds the armour inside a JSON document's text. JSON may spell any character as an escape, and writers do so with <c>+</c>, <c>/</c> and <c>=</c>; with the prefix's characters none does, and the reader refuses such a document.
/// </summary>
internal static class Documents
{
    public static IEnumerable<(Guid KeyId, int Start, int Length)> Find(string document)
    {
        var at = 0;
        while ((at = document.IndexOf(TextArmor.Prefix, at, StringComparison.Ordinal)) >= 0)
        {
            // Also of one that is cut off, or is no document but bare armour.
            var end = document.IndexOf('"', at) is >= 0 and var quote ? quote : document.Length;
            if (TextArmor.TryReadKeyId(Unescape(document[at..end]), out var id))
            {
                yield return (id, at, end - at);
            }

            at = end;
        }
    }

    public static string Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
        {
            return text;
        }

        var plain = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            var rest = text.AsSpan(i);
            if (rest.StartsWith("\\/"))
            {
                plain.Append('/');
                i++;
            }
            else if (rest.Length >= 6 && rest.StartsWith("\\u") && ushort.TryParse(rest[2..6], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code))
            {
                plain.Append((char)code);
                i += 5;
            }
            else
            {
                plain.Append(text[i]);
            }
        }

        return plain.ToString();
    }
}
