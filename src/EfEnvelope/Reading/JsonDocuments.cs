using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Reading;

/// <summary>Which columns are JSON documents with encrypted members.</summary>
internal static class JsonDocuments
{
    /// <summary>The entity type whose row holds the document; null for any other column.</summary>
    public static IEntityType? FindOwner(ColumnOrigin origin)
    {
        if (origin.Table.FindColumn(origin.ColumnName) is { PropertyMappings.Count: > 0 })
        {
            return null;
        }

        foreach (var mapping in origin.Table.EntityTypeMappings)
        {
            if (mapping.TypeBase is not IEntityType type)
            {
                continue;
            }

            foreach (var navigation in type.GetNavigations())
            {
                if (navigation.ForeignKey.IsOwnership && !navigation.IsOnDependent
                    && navigation.TargetEntityType.GetContainerColumnName() == origin.ColumnName
                    && EncryptedTypeInfo.Of(navigation.TargetEntityType).InJsonDocument)
                {
                    return type;
                }
            }

            if (EncryptedTypeInfo.Of(type).HasJsonDocument && type.GetComplexProperties().Any(c => c.ComplexType.GetContainerColumnName() == origin.ColumnName))
            {
                return type;
            }
        }

        return null;
    }
}
