using System.Globalization;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>The value form of FORMAT, Keys: a string exactly, a Guid in lower-case D form, an integer in invariant decimal; and row ids made of it.</summary>
internal static class ScopeValue
{
    /// <exception cref="MissingScopeException">The value is null.</exception>
    /// <exception cref="EnvelopeConfigurationException">Its type has no value form.</exception>
    public static string Format(object value) => value switch
    {
        null => throw new MissingScopeException("A scope or row id needs a value, and this one is null. Set the property before the row is saved."),
        string text => text,
        Guid guid => guid.ToString("D"),
        sbyte or short or int or long or byte or ushort or uint or ulong => ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture),
        _ => throw new EnvelopeConfigurationException($"A scope or row id is a string, a Guid or an integer; the provider type {value.GetType().Name} has no form of its own. Choose another property or a converter to one of these."),
    };

    /// <summary>The primary key's parts, '%' and '|' escaped, joined by '|'.</summary>
    public static string RowId(IReadOnlyList<object> keyParts)
    {
        if (keyParts.Count == 1)
        {
            return Escape(Format(keyParts[0]));
        }

        var result = new StringBuilder();
        for (var i = 0; i < keyParts.Count; i++)
        {
            if (i > 0)
            {
                result.Append('|');
            }

            result.Append(Escape(Format(keyParts[i])));
        }

        return result.ToString();
    }

    private static string Escape(string part) => part.AsSpan().ContainsAny('%', '|')
        ? part.Replace("%", "%25", StringComparison.Ordinal).Replace("|", "%7C", StringComparison.Ordinal)
        : part;
}
