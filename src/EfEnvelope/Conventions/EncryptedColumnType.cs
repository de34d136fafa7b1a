using System.Globalization;
using System.Text.RegularExpressions;
using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>Makes the column fit its envelopes: binary and wide enough, or text that holds armour; refuses what is too short or of fixed length.</summary>
internal static partial class EncryptedColumnType
{
    private const int Overhead = 55;
    private const int MaxUtf8BytesPerChar = 3;

    public static void Apply(IMutableProperty property, bool armored, int padding, bool inDocument)
    {
        if (property.GetColumnType() is { } columnType)
        {
            ValidateExplicitType(property, columnType, armored);
        }

        if (property.IsFixedLength() == true)
        {
            throw EncryptedPropertyValidator.Error(property, "has a column of fixed length, which would pad or cut envelopes. Remove IsFixedLength()");
        }

        property.SetPrecision(null);
        property.SetScale(null);
        property.SetIsUnicode(null);
        TakeCollation(property);

        var plaintextLength = PlaintextLength(property);
        if (plaintextLength is not { } length)
        {
            return;
        }

        if (inDocument)
        {
            // No column has the length, and the armour of a shorter value is longer.
            property.SetMaxLength(null);
            return;
        }

        var bytes = (long)length * (property.ClrType == typeof(byte[]) ? 1 : MaxUtf8BytesPerChar);
        bytes = padding == 0 ? bytes : padding * ((bytes + 1 + padding - 1) / padding);
        var envelope = Overhead + bytes;
        if (armored)
        {
            var needed = TextArmor.EncodedLength(Overhead + 1);
            if (length < needed)
            {
                throw EncryptedPropertyValidator.Error(
                    property,
                    $"is stored as text armour in a column of at most {length} characters; the shortest armour has {needed}. Raise HasMaxLength to the armour's length (5 + 4 * ceil((55 + n) / 3) characters for n bytes), or store it in binary (Armored = false)");
            }

            return;
        }

        property.SetMaxLength(envelope > int.MaxValue ? null : (int)envelope);
    }

    /// <summary>PostgreSQL knows no collation of binary columns, and armour equals itself alone: what is set for all texts is not meant for envelopes.</summary>
    private static void TakeCollation(IMutableProperty property)
    {
        if (property.GetCollation() is { } collation)
        {
            property.SetAnnotation(EnvelopeAnnotationNames.PlaintextCollation, collation);
            property.SetCollation(null);
        }
    }

    private static int? PlaintextLength(IMutableProperty property)
    {
        if (property.FindAnnotation(EnvelopeAnnotationNames.PlaintextMaxLength)?.Value is string remembered)
        {
            return int.Parse(remembered, CultureInfo.InvariantCulture);
        }

        if (property.GetMaxLength() is not ({ } length and > 0))
        {
            return null;
        }

        property.SetAnnotation(EnvelopeAnnotationNames.PlaintextMaxLength, length.ToString(CultureInfo.InvariantCulture));
        return length;
    }

    private static void ValidateExplicitType(IMutableProperty property, string columnType, bool armored)
    {
        var type = columnType.Trim().ToLowerInvariant();
        var binary = BinaryType().IsMatch(type);
        var fixedLength = FixedLengthType().IsMatch(type);
        if (fixedLength)
        {
            throw EncryptedPropertyValidator.Error(property, $"has column type '{columnType}' of fixed length, which would pad or cut envelopes. Use a type of variable length");
        }

        if (!armored && !binary)
        {
            throw EncryptedPropertyValidator.Error(
                property,
                $"has column type '{columnType}', which does not hold binary envelopes. Remove HasColumnType, or keep a text column with [Encrypted(Armored = true)]");
        }

        if (armored && (binary || !TextType().IsMatch(type)))
        {
            throw EncryptedPropertyValidator.Error(property, $"is stored as text armour, but its column type is '{columnType}'. Use a text type, or Armored = false");
        }

        if (!armored || SizedType().Match(type) is not { Success: true } sized || !int.TryParse(sized.Groups[1].ValueSpan, CultureInfo.InvariantCulture, out var size))
        {
            return;
        }

        if (size < TextArmor.EncodedLength(Overhead + 1))
        {
            throw EncryptedPropertyValidator.Error(property, $"is stored as text armour, for which column type '{columnType}' is too short: the shortest armour has {TextArmor.EncodedLength(Overhead + 1)} characters");
        }

        // The writer checks each armour against it, on providers too that keep no length of a named type.
        property.SetMaxLength(Math.Min(size, property.GetMaxLength() is { } length and > 0 ? length : size));
    }

    [GeneratedRegex(@"^(bytea|blob|varbinary|image|longblob|mediumblob|raw|long raw)\b")]
    private static partial Regex BinaryType();

    [GeneratedRegex(@"^(text|varchar|character varying|nvarchar|clob|nclob|longtext|mediumtext|citext)\b")]
    private static partial Regex TextType();

    [GeneratedRegex(@"^(char|nchar|character|bpchar|binary)\b(?! varying)")]
    private static partial Regex FixedLengthType();

    [GeneratedRegex(@"\((\d+)\)$")]
    private static partial Regex SizedType();
}
