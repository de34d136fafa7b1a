using System.Globalization;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>The text form of tenant, subject and primary-key values (FORMAT.md, Scope): a string exactly, a Guid in lower-case D form, integers in invariant decimal.</summary>
internal static class ScopeValue
{
    public static string Format(object value) => value switch
    {
        string text => text,
        Guid guid => guid.ToString("D"),
        Enum number => Format(Convert.ChangeType(number, number.GetTypeCode(), CultureInfo.InvariantCulture)),
        int or long or short or byte or sbyte or uint or ulong or ushort => ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture),
        _ => throw new EnvelopeConfigurationException(
            $"A tenant, subject or row-bound key of type {value.GetType().Name} has no defined text form. Use a string, a Guid or an integer."),
    };

    /// <summary>The row id of a primary key: its parts joined by <c>|</c>, with <c>%</c> as <c>%25</c> and <c>|</c> as <c>%7C</c> in each.</summary>
    public static string RowId(IReadOnlyList<object> keyParts)
    {
        if (keyParts.Count == 1)
        {
            return Escape(Format(keyParts[0]));
        }

        var builder = new StringBuilder();
        for (var i = 0; i < keyParts.Count; i++)
        {
            builder.Append(i > 0 ? "|" : "").Append(Escape(Format(keyParts[i])));
        }

        return builder.ToString();
    }

    private static string Escape(string part)
        => part.AsSpan().IndexOfAny('%', '|') < 0
            ? part
            : part.Replace("%", "%25", StringComparison.Ordinal).Replace("|", "%7C", StringComparison.Ordinal);
}
