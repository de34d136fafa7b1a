using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Metadata;

/// <summary>The properties that stand in a JSON column, by their path in the document.</summary>
internal static class JsonMembers
{
    public static IEnumerable<(string Path, IProperty Property)> Of(IColumn column)
    {
        foreach (var type in column.Table.EntityTypeMappings.Select(m => m.TypeBase).OfType<IEntityType>())
        {
            foreach (var navigation in Owned(type).Where(n => n.TargetEntityType.GetContainerColumnName() == column.Name))
            {
                foreach (var member in Collect(navigation.TargetEntityType, ""))
                {
                    yield return member;
                }
            }

            foreach (var complex in type.GetComplexProperties().Where(c => c.ComplexType.GetContainerColumnName() == column.Name))
            {
                foreach (var member in Collect(complex.ComplexType, ""))
                {
                    yield return member;
                }
            }
        }
    }

    private static IEnumerable<(string Path, IProperty Property)> Collect(ITypeBase type, string path)
    {
        foreach (var property in type.GetProperties())
        {
            yield return ($"{path}.{property.GetJsonPropertyName() ?? property.Name}", property);
        }

        foreach (var complex in type.GetComplexProperties())
        {
            foreach (var member in Collect(complex.ComplexType, $"{path}.{complex.ComplexType.GetJsonPropertyName() ?? complex.Name}"))
            {
                yield return member;
            }
        }

        foreach (var navigation in type is IEntityType entityType ? Owned(entityType) : [])
        {
            foreach (var member in Collect(navigation.TargetEntityType, $"{path}.{navigation.TargetEntityType.GetJsonPropertyName() ?? navigation.Name}"))
            {
                yield return member;
            }
        }
    }

    private static IEnumerable<INavigation> Owned(IEntityType type) => type.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent);
}
