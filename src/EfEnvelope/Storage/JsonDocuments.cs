using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Storage;

/// <summary>Which columns are JSON documents with encrypted members.</summary>
internal static class JsonDocuments
{
    /// <summary>The entity type whose row holds the document; null for any other column.</summary>
    public static IEntityType? FindOwner(ColumnOrigin origin) => Find(origin)?.Owner;

    /// <summary>The first encrypted member of the document that stands in the column; null for any other column.</summary>
    public static IProperty? FindMember(ColumnOrigin origin) => Find(origin)?.Member;

    /// <summary>The encrypted member at a path into the document, or the first one of the part that stands there; null where it is plain.</summary>
    public static IProperty? FindMember(ColumnOrigin origin, IReadOnlyList<PathSegment> path)
    {
        var type = Find(origin)?.Root;
        foreach (var name in path.Select(s => s.PropertyName).OfType<string>())
        {
            if (type?.GetProperties().FirstOrDefault(p => p.GetJsonPropertyName() == name) is { } member)
            {
                return member.FindEnvelope() is null ? null : member;
            }

            type = type?.GetComplexProperties().FirstOrDefault(c => (c.GetJsonPropertyName() ?? c.Name) == name)?.ComplexType
                ?? (ITypeBase?)(type as IEntityType)?.GetNavigations().FirstOrDefault(n => n.ForeignKey.IsOwnership && !n.IsOnDependent && (n.TargetEntityType.GetJsonPropertyName() ?? n.Name) == name)?.TargetEntityType;
        }

        return type is null ? null : EncryptedMembers.First(type);
    }

    /// <summary>As <see cref="FindMember(ColumnOrigin, IReadOnlyList{PathSegment})"/> of a part whose own place in the document is not known: by the name at the path's end, where no encrypted member, and no structure, has it too.</summary>
    public static IProperty? FindMemberByName(ColumnOrigin origin, IReadOnlyList<PathSegment> path)
        => Find(origin) is not { } found ? null
            : Named(found.Root).Where(n => n.Name == path[^1].PropertyName).ToList() is { Count: > 0 } named && named.All(n => n.IsPlain == true) ? null
            : found.Member;

    /// <summary>Whether the document is a list of objects.</summary>
    public static bool IsList(ColumnOrigin origin) => Find(origin)?.IsList == true;

    /// <summary>The JSON names, in UTF-8, that encrypted members of the document have alone, and those that plain ones have alone.</summary>
    public static (byte[][] Encrypted, byte[][] Plain) MemberNames(ColumnOrigin origin)
    {
        if (Find(origin) is not { } found)
        {
            return ([], []);
        }

        var names = Named(found.Root).Where(n => n.Name.Length > 0).ToLookup(n => n.Name, n => n.IsPlain, StringComparer.Ordinal);
        return (Alone(false), Alone(true));

        byte[][] Alone(bool plain) => [.. names.Where(n => n.All(p => p == plain)).Select(n => System.Text.Encoding.UTF8.GetBytes(n.Key))];
    }

    /// <summary>Every name in the document, and whether a plain or an encrypted member has it; null of a structure. What has no name there has an empty one.</summary>
    private static IEnumerable<(string Name, bool? IsPlain)> Named(ITypeBase type)
        => type.GetProperties().Select(p => (p.GetJsonPropertyName() ?? "", (bool?)(p.FindEnvelope() is null)))
            .Concat(type.GetComplexProperties().SelectMany(c => Named(c.ComplexType).Prepend((c.GetJsonPropertyName() ?? c.Name, null))))
            .Concat(type is IEntityType owner
                ? owner.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent).SelectMany(n => Named(n.TargetEntityType).Prepend((n.TargetEntityType.GetJsonPropertyName() ?? n.Name, null)))
                : []);

    private static (IEntityType Owner, ITypeBase Root, IProperty Member, bool IsList)? Find(ColumnOrigin origin)
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
                    return (type, navigation.TargetEntityType, owned, navigation.IsCollection);
                }
            }

            if (EncryptedTypeInfo.Of(type).HasJsonDocument && FindRoot(type, origin.ColumnName) is { } root && EncryptedMembers.First(root.ComplexType) is { } member)
            {
                return (type, root.ComplexType, member, root.IsCollection);
            }
        }

        return null;
    }

    private static IComplexProperty? FindRoot(ITypeBase type, string column)
        => type.GetComplexProperties()
            .Select(c => c.ComplexType.GetContainerColumnName() == column ? c : FindRoot(c.ComplexType, column))
            .FirstOrDefault(t => t is not null);
}
