using EfEnvelope.Envelopes;

namespace EfEnvelope.Census;

/// <summary>Finds the armour inside a JSON document's text. Armour has no character that JSON escapes but <c>+</c>, which writers may print as <c>\u002B</c>.</summary>
internal static class Documents
{
    public static IEnumerable<(Guid KeyId, int Start, int Length)> Find(string document)
    {
        var at = 0;
        while ((at = document.IndexOf(TextArmor.Prefix, at, StringComparison.Ordinal)) >= 0)
        {
            var end = document.IndexOf('"', at);
            if (end < 0)
            {
                yield break;
            }

            if (TextArmor.TryReadKeyId(Unescape(document[at..end]), out var id))
            {
                yield return (id, at, end - at);
            }

            at = end;
        }
    }

    public static string Unescape(string text) => text.Contains('\\', StringComparison.Ordinal)
        ? text.Replace("\\u002B", "+", StringComparison.OrdinalIgnoreCase).Replace("\\/", "/", StringComparison.Ordinal)
        : text;
}
