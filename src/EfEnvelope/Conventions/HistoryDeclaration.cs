using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// An entity whose table keeps former values of another one's rows, copied by the database: its properties take up the declarations of those with the same names, column id and data key scope included.
/// </summary>
internal static class HistoryDeclaration
{
    /// <summary>The entity whose former values the type keeps; null for any other type.</summary>
    public static IReadOnlyEntityType? SourceOf(IReadOnlyTypeBase type)
        => ScopeDeclaration.OwningRoot(type) is var root && root.FindAnnotation(EnvelopeAnnotationNames.HistoryOf)?.Value is string name ? root.Model.FindEntityType(name) : null;

    /// <summary>Whether one of two properties keeps former values of the other, or both of a third one: they share a column id.</summary>
    public static bool Related(IReadOnlyProperty one, IReadOnlyProperty other)
        => (SourceOf(one.DeclaringType) ?? SourceOf(other.DeclaringType)) is not null && Source(one) == Source(other) && Path(one) == Path(other);

    public static void Apply(IMutableEntityType history)
    {
        if ((history.FindAnnotation(EnvelopeAnnotationNames.HistoryOf)?.Value as string ?? ScopeProperties.Attribute<EncryptedHistoryOfAttribute>(history)?.Source.FullName) is not { } name)
        {
            return;
        }

        if (history.BaseType is not null || history.FindOwnership() is not null)
        {
            throw Error(history, "is declared a history, but only the root entity of a hierarchy can be, not a derived or owned type");
        }

        var source = history.Model.FindEntityType(name) ?? history.Model.GetEntityTypes().FirstOrDefault(e => e.ClrType.FullName == name) ?? throw Error(history, $"is declared the history of '{name}', which is no entity of the model");
        if (source == history || SourceOf(source) is not null)
        {
            throw Error(history, $"is declared the history of {source.DisplayName()}, which is a history itself. Name the entity whose values are kept");
        }

        history.SetAnnotation(EnvelopeAnnotationNames.HistoryOf, source.Name);
        var root = source.GetRootType();
        history.SetOrRemoveAnnotation(EnvelopeAnnotationNames.Scope, root.FindAnnotation(EnvelopeAnnotationNames.Scope)?.Value);
        history.SetOrRemoveAnnotation(EnvelopeAnnotationNames.PerRow, root.FindAnnotation(EnvelopeAnnotationNames.PerRow)?.Value);
        if (TakeUp(history, source.GetAllBaseTypes().Concat(source.GetDerivedTypesInclusive())) == 0)
        {
            throw Error(history, $"is declared the history of {source.DisplayName()}, but has no property with the name of an encrypted one of it");
        }
    }

    private static int TakeUp(IMutableTypeBase history, IEnumerable<IMutableTypeBase> sources)
    {
        var taken = 0;
        foreach (var source in sources)
        {
            foreach (var property in source.GetDeclaredProperties().Where(EncryptionDeclaration.IsEncrypted))
            {
                if (history.FindProperty(property.Name) is { } copy)
                {
                    TakeUp(copy, property);
                    taken++;
                }
            }

            foreach (var complex in source.GetDeclaredComplexProperties())
            {
                taken += history.FindComplexProperty(complex.Name) is { } copy ? TakeUp(copy.ComplexType, [complex.ComplexType]) : 0;
            }

            foreach (var owned in (source as IMutableEntityType)?.GetDeclaredNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent) ?? [])
            {
                taken += (history as IMutableEntityType)?.FindNavigation(owned.Name) is { } copy ? TakeUp(copy.TargetEntityType, [owned.TargetEntityType]) : 0;
            }
        }

        return taken;
    }

    private static void TakeUp(IMutableProperty copy, IMutableProperty property)
    {
        var declaration = EncryptionDeclaration.Of(property);
        if (declaration.RowBound)
        {
            throw EncryptedPropertyValidator.Error(copy, $"keeps former values of {property.DeclaringType.DisplayName()}.{property.Name}, which is row-bound: its values open in their own row only. Use HasDataKeyPerRow() on {property.DeclaringType.DisplayName()} instead of the row binding");
        }

        if (Plain(copy) != Plain(property))
        {
            throw EncryptedPropertyValidator.Error(copy, $"is of type {Plain(copy).Name}, but keeps former values of {property.DeclaringType.DisplayName()}.{property.Name}, which is of type {Plain(property).Name}. Declare both alike");
        }

        copy.SetAnnotation(EnvelopeAnnotationNames.Encrypted, "true");
        copy.SetAnnotation(EnvelopeAnnotationNames.ColumnId, declaration.ColumnId);
        copy.SetAnnotation(EnvelopeAnnotationNames.FormerColumnIds, EncryptionDeclaration.Join(declaration.FormerColumnIds));
        copy.SetAnnotation(EnvelopeAnnotationNames.Padding, declaration.Padding.ToString(System.Globalization.CultureInfo.InvariantCulture));
        copy.SetAnnotation(EnvelopeAnnotationNames.RowBound, "false");
        copy.SetAnnotation(EnvelopeAnnotationNames.Armored, declaration.Armored ? "true" : "false");
        if (copy.GetValueConverter() is null && copy.GetProviderClrType() is null)
        {
            copy.SetProviderClrType(property.GetProviderClrType());
            var converter = property.GetValueConverter() is IEnvelopeValueConverter applied ? applied.UserConverter : property.GetValueConverter();
            if (converter is not null)
            {
                copy.SetValueConverter(converter);
            }
        }
    }

    private static IReadOnlyEntityType Source(IReadOnlyProperty property) => SourceOf(property.DeclaringType)?.GetRootType() ?? ScopeDeclaration.OwningRoot(property.DeclaringType);

    /// <summary>The member's path from the root, by which a history takes up the declarations of its source.</summary>
    private static string Path(IReadOnlyProperty property) => Path(property.DeclaringType) + property.Name;

    private static string Path(IReadOnlyTypeBase type)
        => type switch
        {
            IReadOnlyComplexType complex => $"{Path(complex.ComplexProperty.DeclaringType)}{complex.ComplexProperty.Name}.",
            IReadOnlyEntityType entityType when entityType.FindOwnership() is { } ownership => $"{Path(ownership.PrincipalEntityType)}{ownership.PrincipalToDependent?.Name}.",
            _ => "",
        };

    private static Type Plain(IReadOnlyProperty property) => Nullable.GetUnderlyingType(property.ClrType) ?? property.ClrType;

    private static EnvelopeConfigurationException Error(IReadOnlyEntityType entityType, string what)
        => new($"Entity {entityType.DisplayName()} {what}.") { Entity = entityType.DisplayName() };
}
