using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Storage;

/// <summary>Which columns are JSON documents with encrypted members.</summary>
internal static class JsonDocuments
{
    /// <summary>The entity type whose row holds the document; null for any other column.</summary>
    public static IEntityType? FindOwner(ColumnOrigin origin) => Find(origin)?.Owner;

    /// <summary>The first encrypted member of the document that stands in the column; null for any other column.</summary>
    public static IProperty? FindMember(ColumnOrigin origin) => Find(origin)?.Member;

    private static (IEntityType Owner, IProperty Member)? Find(ColumnOrigin origin)
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
                    && EncryptedTypeInfo.Of(navigation.TargetEntityType).InJsonDocument
                    && EncryptedMembers.First(navigation.TargetEntityType) is { } owned)
                {
                    return (type, owned);
                }
            }

            if (EncryptedTypeInfo.Of(type).HasJsonDocument && FindMember(type, origin.ColumnName) is { } member)
            {
                return (type, member);
            }
        }

        return null;
    }

    private static IProperty? FindMember(ITypeBase type, string column)
        => type.GetComplexProperties()
            .Select(c => c.ComplexType.GetContainerColumnName() == column ? EncryptedMembers.First(c.ComplexType) : FindMember(c.ComplexType, column))
            .FirstOrDefault(m => m is not null);
}
