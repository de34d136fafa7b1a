using System.Reflection;
using System.Text.RegularExpressions;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>Checks the property that names a row's tenant or subject, makes it immutable, and adds the row id of row-keyed entities.</summary>
internal static partial class ScopeProperties
{
    public const string DefaultRowId = "EnvelopeRowId";

    /// <summary>Collations by which a value equals itself alone.</summary>
    private static readonly HashSet<string> Exact = new(StringComparer.OrdinalIgnoreCase) { "BINARY", "C", "POSIX", "C.UTF-8", "C.utf8", "pg_c_utf8", "ucs_basic", "default" };

    private static readonly string[] Padded = ["char", "character", "bpchar", "nchar"];

    /// <summary>Types in which SQLite keeps a text that looks like a number as that number.</summary>
    private static readonly string[] Numeric = ["int", "integer", "bigint", "smallint", "tinyint", "numeric", "decimal", "real", "double", "float", "string", "bool", "boolean", "date", "datetime"];

    /// <summary>
    /// Takes up the attribute forms. A root also takes them from base classes that are not mapped; a derived or owned type only its own, which is then refused.
    /// </summary>
    public static void ApplyAttributes(IMutableEntityType entityType)
    {
        var tenant = Attribute<DataKeyPerTenantAttribute>(entityType);
        var subject = Attribute<DataKeyPerSubjectAttribute>(entityType);
        if (tenant is not null && subject is not null)
        {
            throw Error(entityType, "has [DataKeyPerTenant] and [DataKeyPerSubject]. Keep one of them");
        }

        if (entityType.FindAnnotation(EnvelopeAnnotationNames.Scope) is null)
        {
            var scope = subject is not null ? ScopeDeclaration.ForSubject(subject.Name, subject.Property)
                : tenant is { Property: { } property } ? ScopeDeclaration.ForTenant(property)
                : tenant is not null ? ScopeDeclaration.AmbientTenant : null;
            if (scope is not null)
            {
                entityType.SetAnnotation(EnvelopeAnnotationNames.Scope, scope.ToAnnotation());
            }
        }

        if (entityType.FindAnnotation(EnvelopeAnnotationNames.PerRow) is null && Attribute<DataKeyPerRowAttribute>(entityType) is { } perRow)
        {
            ArgumentException.ThrowIfNullOrWhiteSpace(perRow.RowIdProperty);
            entityType.SetAnnotation(EnvelopeAnnotationNames.PerRow, perRow.RowIdProperty);
        }
    }

    /// <summary>The cells of a complex type take the key of its row: a scope that its class declares has no effect, and would let them stand under another key than it says.</summary>
    public static void RefuseOnComplex(IReadOnlyTypeBase type)
    {
        foreach (var complex in type.GetDeclaredComplexProperties().Select(c => c.ComplexType))
        {
            var attribute = complex.ClrType.GetCustomAttributes(inherit: false).FirstOrDefault(a => a is DataKeyPerTenantAttribute or DataKeyPerSubjectAttribute or DataKeyPerRowAttribute or EncryptedHistoryOfAttribute);
            if (attribute is not null)
            {
                var root = ScopeDeclaration.OwningRoot(complex).DisplayName();
                throw new EnvelopeConfigurationException(
                    $"{complex.DisplayName()} has [{Name(attribute)}], but is a complex type: its cells take the data key of their row, which {root} declares. Remove the attribute there, or put it on {root}.") { Entity = complex.DisplayName() };
            }

            RefuseOnComplex(complex);
        }
    }

    /// <summary>Refuses a model whose entity has an attribute of a scope that the model does not say: it was made before.</summary>
    public static void RequireApplied(IReadOnlyEntityType entityType)
    {
        var forgotten = entityType.FindAnnotation(EnvelopeAnnotationNames.Scope) is null ? (Attribute)Attribute<DataKeyPerTenantAttribute>(entityType)! ?? Attribute<DataKeyPerSubjectAttribute>(entityType) : null;
        forgotten ??= entityType.FindAnnotation(EnvelopeAnnotationNames.PerRow) is null ? Attribute<DataKeyPerRowAttribute>(entityType) : null;
        forgotten ??= entityType.FindAnnotation(EnvelopeAnnotationNames.HistoryOf) is null ? Attribute<EncryptedHistoryOfAttribute>(entityType) : null;
        if (forgotten is not null)
        {
            throw Error(entityType, $"has [{Name(forgotten)}], of which the model in use knows nothing. It was made before: make it again (dotnet ef dbcontext optimize), with UseEnvelopeEncryption in the options");
        }
    }

    private static string Name(object attribute) => attribute.GetType().Name.Replace("Attribute", "", StringComparison.Ordinal);

    /// <summary>An attribute of the entity type's own: of a root also on any base class, of a derived type also on the classes between it and its mapped base.</summary>
    public static TAttribute? Attribute<TAttribute>(IReadOnlyEntityType entityType)
        where TAttribute : Attribute
    {
        if (entityType.BaseType is not { } mapped)
        {
            return entityType.ClrType.GetCustomAttribute<TAttribute>(inherit: entityType.FindOwnership() is null);
        }

        for (var type = entityType.ClrType; type is not null && type != mapped.ClrType; type = type.BaseType)
        {
            if (type.GetCustomAttribute<TAttribute>(inherit: false) is { } attribute)
            {
                return attribute;
            }
        }

        return null;
    }

    /// <summary>Looks at a root's declaration, makes the property that names its tenant or subject immutable, and adds the row id.</summary>
    public static void Apply(IMutableEntityType entityType)
    {
        if (Validate(entityType) is not { } scope)
        {
            return;
        }

        if (scope.PropertyName is { } name)
        {
            entityType.FindProperty(name)!.SetAfterSaveBehavior(PropertySaveBehavior.Throw);
        }

        if (scope.PerRow)
        {
            var rowId = entityType.FindProperty(scope.RowIdProperty) ?? entityType.AddProperty(scope.RowIdProperty, typeof(Guid));
            rowId.IsNullable = false;
            rowId.ValueGenerated = ValueGenerated.Never;
            rowId.SetAfterSaveBehavior(PropertySaveBehavior.Ignore);
            if (entityType.FindIndex(rowId) is null)
            {
                // Of a row's former values there may be many.
                entityType.AddIndex(rowId).IsUnique = HistoryDeclaration.SourceOf(entityType) is null;
            }
        }
    }

    /// <summary>As the model was finished, a convention that ran later may have changed what <see cref="Apply"/> had seen or made.</summary>
    public static void RequireUnchanged(IReadOnlyEntityType entityType)
    {
        if (Validate(entityType) is not { } scope)
        {
            return;
        }

        if (scope.PropertyName is { } name && entityType.FindProperty(name)!.GetAfterSaveBehavior() != PropertySaveBehavior.Throw)
        {
            throw Changed(name);
        }

        if (scope.PerRow && (entityType.FindProperty(scope.RowIdProperty) is not { IsNullable: false, ValueGenerated: ValueGenerated.Never } rowId || rowId.GetAfterSaveBehavior() == PropertySaveBehavior.Save))
        {
            throw Changed(scope.RowIdProperty);
        }

        EnvelopeConfigurationException Changed(string name)
            => Error(entityType, $"takes its data key from '{name}', which a convention that ran after EfEnvelope's lets be changed, generated or left out. Let it leave that property alone, or call UseEnvelopeEncryption() in ConfigureConventions, after that convention");
    }

    /// <summary>The declaration that stands on the type; null where there is none.</summary>
    private static ScopeDeclaration? Validate(IReadOnlyEntityType entityType)
    {
        if ((entityType.FindAnnotation(EnvelopeAnnotationNames.Scope) ?? entityType.FindAnnotation(EnvelopeAnnotationNames.PerRow)) is null)
        {
            return null;
        }

        if (entityType.BaseType is not null || entityType.FindOwnership() is not null)
        {
            throw Error(entityType, "declares a data key scope, but only the root entity of a hierarchy can, not a derived or owned type. Declare it on the root");
        }

        var scope = ScopeDeclaration.Of(entityType, ambientByDefault: false);
        if (scope.PropertyName is { } name)
        {
            var property = entityType.FindProperty(name) ?? throw Error(entityType, $"takes its data key from '{name}', which is no mapped scalar property of it");
            // One that is encrypted itself is refused by its name, with the other properties.
            if (!EncryptionDeclaration.IsEncrypted(property) && !IsSupported(property))
            {
                throw Error(entityType, $"takes its data key from '{name}' of type {property.ClrType.Name}. Use a string, a Guid or an integer");
            }

            if (property.ValueGenerated is not (ValueGenerated.Never or ValueGenerated.OnUpdateSometimes) && !EncryptedPropertyValidator.IsClientGenerated(property))
            {
                throw Error(entityType, $"takes its data key from '{name}', which the store generates: it is not known when the row is sealed. Use a value that the application sets");
            }

            RefuseLooseComparison(property, "takes its data key from");
        }

        if (scope.PerRow && entityType.FindProperty(scope.RowIdProperty) is { } rowId && rowId.ClrType != typeof(Guid))
        {
            throw Error(entityType, $"has a property '{scope.RowIdProperty}' of type {rowId.ClrType.Name}; the row id must be a Guid");
        }

        return scope;
    }

    /// <summary>
    /// A value that names a key must come back as it was stored, and equal to itself alone: a column that pads (<c>character(n)</c>) or compares loosely (<c>citext</c>, <c>NOCASE</c>) would seal a row with a key that its own value does not name.
    /// </summary>
    public static void RefuseLooseComparison(IReadOnlyProperty property, string what)
    {
        if (property.GetCollation() is { } collation && !Exact.Contains(collation))
        {
            throw Loose(property, what, $"of collation '{collation}', by which different values may be equal", "Remove the collation, or use a binary one");
        }

        var type = property.FindAnnotation(RelationalAnnotationNames.ColumnType)?.Value as string;
        if (property.IsFixedLength() == true || (type is not null && IsPadded(type.Trim())))
        {
            throw Loose(property, what, $"of a fixed length{(type is null ? "" : $" ({type})")}, which the database pads", "Use a column of variable length");
        }

        if (type is not null && Collate().Match(type) is { Success: true } collated && !Exact.Contains(collated.Groups[1].Value))
        {
            throw Loose(property, what, $"of type {type}, by whose collation different values may be equal", "Remove the collation, or use a binary one");
        }

        if (type is not null && IsText(property) && Numeric.Contains(type.Split('(', ' ')[0], StringComparer.OrdinalIgnoreCase))
        {
            throw Loose(property, what, $"of type {type}, in which SQLite keeps '007' as 7", "Use TEXT");
        }

        if (string.Equals(type?.Trim(), "citext", StringComparison.OrdinalIgnoreCase))
        {
            throw Loose(property, what, "of type citext, by which values of different case are equal", "Use text, and normalise the case in the application");
        }
    }

    private static bool IsPadded(string type)
        => Padded.Any(p => type.StartsWith(p, StringComparison.OrdinalIgnoreCase) && (type.Length == p.Length || type[p.Length] is '(' or ' ') && !type.Contains("varying", StringComparison.OrdinalIgnoreCase));

    private static bool IsText(IReadOnlyProperty property) => (property.GetValueConverter()?.ProviderClrType ?? property.GetProviderClrType() ?? property.ClrType) == typeof(string);

    private static EnvelopeConfigurationException Loose(IReadOnlyProperty property, string what, string why, string instead)
        => new($"Entity {property.DeclaringType.DisplayName()} {what} '{property.Name}', a column {why}. {instead}.") { Entity = property.DeclaringType.DisplayName(), Property = property.Name };

    private static bool IsSupported(IReadOnlyProperty property)
    {
        var type = property.GetValueConverter()?.ProviderClrType ?? property.GetProviderClrType() ?? property.ClrType;
        type = Nullable.GetUnderlyingType(type) ?? type;
        type = type.IsEnum ? type.GetEnumUnderlyingType() : type;
        return type == typeof(string) || type == typeof(Guid) || type == typeof(int) || type == typeof(long) || type == typeof(short)
            || type == typeof(byte) || type == typeof(sbyte) || type == typeof(uint) || type == typeof(ulong) || type == typeof(ushort);
    }

    private static EnvelopeConfigurationException Error(IReadOnlyEntityType entityType, string what)
        => new($"Entity {entityType.DisplayName()} {what}.") { Entity = entityType.DisplayName() };

    [GeneratedRegex(@"\bcollate\s+""?([^\s""]+)""?", RegexOptions.IgnoreCase)]
    private static partial Regex Collate();
}
