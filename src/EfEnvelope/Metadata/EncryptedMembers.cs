using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Metadata;

/// <summary>Finds encrypted properties through complex types, collections of them, and owned types that stand in the same JSON document.</summary>
internal static class EncryptedMembers
{
    /// <summary>The property of a column id; null where no type of the model has it.</summary>
    public static IProperty? Find(IModel model, string columnId)
        => model.GetEntityTypes().SelectMany(e => Of(e, declaredOnly: true)).FirstOrDefault(p => p.FindEnvelope()?.ColumnId == columnId);

    /// <summary>The first encrypted property of a type, or of a document that it is the root of; null where there is none.</summary>
    public static IProperty? First(ITypeBase type)
        => Of(type, declaredOnly: false).FirstOrDefault()
            ?? (type is IEntityType entityType && entityType.IsMappedToJson()
                ? entityType.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent).Select(n => First(n.TargetEntityType)).FirstOrDefault(p => p is not null)
                : null);

    /// <summary>The encrypted property that a CLR member of that name is mapped to, in any entity or complex type; null where it is plain.</summary>
    public static IProperty? Find(IModel model, Type declaringType, string name)
        => model.GetEntityTypes().SelectMany(e => Of(e, declaredOnly: false)).FirstOrDefault(
            p => p.Name == name && (p.DeclaringType.ClrType.IsAssignableTo(declaringType) || p.DeclaringType.ClrType.IsAssignableFrom(declaringType)));

    /// <summary>The first encrypted property of the complex type, or type of a JSON document, that a CLR type is mapped to; null for any other type.</summary>
    public static IProperty? FindInStructure(IModel model, Type type)
    {
        foreach (var entityType in model.GetEntityTypes())
        {
            var structure = entityType.IsMappedToJson() && entityType.ClrType == type ? entityType : FindComplex(entityType, type);
            if (structure is not null && First(structure) is { } property)
            {
                return property;
            }
        }

        return null;
    }

    private static ITypeBase? FindComplex(ITypeBase container, Type type)
        => container.GetComplexProperties().Select(c => c.ComplexType.ClrType == type ? c.ComplexType : FindComplex(c.ComplexType, type)).FirstOrDefault(t => t is not null);

    private static IEnumerable<IProperty> Of(ITypeBase type, bool declaredOnly)
        => (declaredOnly ? type.GetDeclaredProperties() : type.GetProperties()).Where(p => p.FindEnvelope() is not null)
            .Concat((declaredOnly ? type.GetDeclaredComplexProperties() : type.GetComplexProperties()).SelectMany(c => Of(c.ComplexType, declaredOnly)));
}
