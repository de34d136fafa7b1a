using System.Globalization;
using System.Text;
using System.Text.Json;

namespace EfEnvelope.Proof;

/// <summary>
/// RFC 8785 for documents whose numbers are all integers below 2^53: members sorted by their names' UTF-16 code units, no white space, and in strings only what must be escaped, in its shortest form.
/// </summary>
internal static class CanonicalJson
{
    private const long MaxInteger = (1L << 53) - 1;

    /// <exception cref="FormatException">A number that is not such an integer, or a string that is not Unicode.</exception>
    public static string Write(JsonElement value)
    {
        var text = new StringBuilder();
        Append(text, value, without: null);
        return text.ToString();
    }

    /// <summary>An object without some of its members.</summary>
    public static string WriteWithout(JsonElement value, params string[] members)
    {
        var text = new StringBuilder();
        Append(text, value, members);
        return text.ToString();
    }

    private static void Append(StringBuilder text, JsonElement value, string[]? without)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                text.Append('{');
                var first = true;
                foreach (var member in value.EnumerateObject().Where(m => without is null || !without.Contains(m.Name)).OrderBy(m => m.Name, StringComparer.Ordinal))
                {
                    Separate(text, ref first);
                    AppendString(text, member.Name);
                    text.Append(':');
                    Append(text, member.Value, without: null);
                }

                text.Append('}');
                break;
            case JsonValueKind.Array:
                text.Append('[');
                var isFirst = true;
                foreach (var element in value.EnumerateArray())
                {
                    Separate(text, ref isFirst);
                    Append(text, element, without: null);
                }

                text.Append(']');
                break;
            case JsonValueKind.String:
                AppendString(text, ReadString(value));
                break;
            case JsonValueKind.Number:
                text.Append(value.TryGetInt64(out var number) && number is >= -MaxInteger and <= MaxInteger
                    ? number.ToString(CultureInfo.InvariantCulture)
                    : throw new FormatException("a number is no integer below 2^53"));
                break;
            default:
                text.Append(value.ValueKind switch { JsonValueKind.True => "true", JsonValueKind.False => "false", _ => "null" });
                break;
        }
    }

    private static string ReadString(JsonElement value)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException error)
        {
            throw new FormatException("a string is not Unicode", error);
        }
    }

    private static void Separate(StringBuilder text, ref bool first)
    {
        if (!first)
        {
            text.Append(',');
        }

        first = false;
    }

    private static void AppendString(StringBuilder text, string value)
    {
        text.Append('"');
        foreach (var c in value)
        {
            _ = c switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),
                '\b' => text.Append("\\b"),
                '\f' => text.Append("\\f"),
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                < ' ' => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => text.Append(c),
            };
        }

        text.Append('"');
    }
}
