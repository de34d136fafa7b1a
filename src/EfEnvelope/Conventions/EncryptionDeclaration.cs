using System.Reflection;
using System.Text;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>What attribute and fluent API together say of one property; the fluent API overrules the attribute.</summary>
internal sealed record EncryptionDeclaration(string ColumnId, IReadOnlyList<string> FormerColumnIds, int Padding, bool RowBound, bool Armored)
{
    private const int MaxPadding = 1 << 20;

    public static bool IsEncrypted(IReadOnlyProperty property)
        => (property.FindAnnotation(EnvelopeAnnotationNames.Encrypted)?.Value as string) switch
        {
            "true" => true,
            "false" => false,
            _ => Attribute(property) is not null,
        };

    /// <summary>Whether the member, of whatever kind, carries the attribute.</summary>
    public static bool IsMarked(IReadOnlyPropertyBase member) => Attribute(member) is not null;

    public static EncryptionDeclaration Of(IReadOnlyProperty property)
    {
        var attribute = Attribute(property);
        var columnId = Text(property, EnvelopeAnnotationNames.ColumnId) ?? attribute?.ColumnId ?? Path(property);
        var padding = Text(property, EnvelopeAnnotationNames.Padding) is { } bucket
            ? int.Parse(bucket, System.Globalization.CultureInfo.InvariantCulture)
            : attribute?.Padding ?? 0;
        if (Encoding.UTF8.GetByteCount(columnId) is 0 or > 255)
        {
            throw EncryptedPropertyValidator.Error(property, "has a column id that is empty or longer than 255 bytes of UTF-8. Set a shorter one with [Encrypted(ColumnId = \"...\")]");
        }

        var former = FormerIds(Text(property, EnvelopeAnnotationNames.FormerColumnIds)) ?? attribute?.FormerColumnIds ?? [];
        if (former.Any(id => id is null || Encoding.UTF8.GetByteCount(id) is 0 or > 255) || former.Append(columnId).Distinct(StringComparer.Ordinal).Count() <= former.Length)
        {
            throw EncryptedPropertyValidator.Error(property, "has a former column id that is empty, longer than 255 bytes of UTF-8, named twice, or its present one. Name each id that the column had before once");
        }

        if (padding is < 0 or > MaxPadding)
        {
            throw EncryptedPropertyValidator.Error(property, $"has a padding of {padding} bytes; it must be 0 (none) to {MaxPadding}");
        }

        return new EncryptionDeclaration(
            columnId,
            former,
            padding,
            Text(property, EnvelopeAnnotationNames.RowBound) is { } bound ? bound == "true" : attribute?.RowBound ?? false,
            Text(property, EnvelopeAnnotationNames.Armored) is { } armored ? armored == "true" : attribute?.Armored ?? false);
    }

    /// <summary>The annotation's form of former ids.</summary>
    public static string Join(IEnumerable<string> formerColumnIds) => string.Join(',', formerColumnIds.Select(Uri.EscapeDataString));

    private static string[]? FormerIds(string? annotation) => annotation is null ? null : annotation.Length == 0 ? [] : [.. annotation.Split(',').Select(Uri.UnescapeDataString)];

    private static EncryptedAttribute? Attribute(IReadOnlyPropertyBase property)
        => property.PropertyInfo?.GetCustomAttribute<EncryptedAttribute>(inherit: true)
            ?? property.FieldInfo?.GetCustomAttribute<EncryptedAttribute>(inherit: true);

    private static string? Text(IReadOnlyProperty property, string name) => property.FindAnnotation(name)?.Value as string;

    /// <summary>The path from the declaring entity: <c>Customer.Ssn</c>, <c>Customer.Home.Street</c>.</summary>
    private static string Path(IReadOnlyProperty property) => $"{Path(property.DeclaringType)}.{property.Name}";

    private static string Path(IReadOnlyTypeBase type)
    {
        if (type is IReadOnlyComplexType complex)
        {
            return $"{Path(complex.ComplexProperty.DeclaringType)}.{complex.ComplexProperty.Name}";
        }

        var entityType = (IReadOnlyEntityType)type;
        return entityType.FindOwnership() is { } ownership
            ? $"{Path(ownership.PrincipalEntityType)}.{ownership.PrincipalToDependent?.Name ?? entityType.ShortName()}"
            : entityType.ShortName();
    }
}
