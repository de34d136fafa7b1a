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
            : Named(found.Root).Where(n => n.Name == path[^1].PropertyName).ToList() is { Count: > 0 } named && named.All(n => n.IsPlain) ? null
            : found.Member;

    /// <summary>Whether the document is a list of objects.</summary>
    public static bool IsList(ColumnOrigin origin) => Find(origin)?.IsList == true;

    /// <summary>The JSON names of its encrypted members, in UTF-8, without those that a plain member of the document has too.</summary>
    public static byte[][] MemberNames(ColumnOrigin origin)
    {
        if (Find(origin) is not { } found)
        {
            return [];
        }

        var names = new Dictionary<string, bool>(StringComparer.Ordinal);
        Collect(found.Root, names);
        return [.. names.Where(n => n.Value).Select(n => System.Text.Encoding.UTF8.GetBytes(n.Key))];
    }

    private static void Collect(ITypeBase type, Dictionary<string, bool> names)
    {
        foreach (var property in type.GetProperties())
        {
            if (property.GetJsonPropertyName() is { } name)
            {
                names[name] = property.FindEnvelope() is not null && names.GetValueOrDefault(name, true);
            }
        }

        foreach (var complex in type.GetComplexProperties())
        {
            Structure(complex.GetJsonPropertyName() ?? complex.Name, complex.ComplexType);
        }

        if (type is IEntityType entityType)
        {
            foreach (var navigation in entityType.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent))
            {
                Structure(navigation.TargetEntityType.GetJsonPropertyName() ?? navigation.Name, navigation.TargetEntityType);
            }
        }

        void Structure(string name, ITypeBase inner)
        {
            names[name] = false;
            Collect(inner, names);
            names[name] = false;
        }
    }

    /// <summary>Every name in the document, and whether a plain member has it.</summary>
    private static IEnumerable<(string Name, bool IsPlain)> Named(ITypeBase type)
        => type.GetProperties().Select(p => (p.GetJsonPropertyName() ?? "", p.FindEnvelope() is null))
            .Concat(type.GetComplexProperties().SelectMany(c => Named(c.ComplexType).Prepend((c.GetJsonPropertyName() ?? c.Name, false))))
            .Concat(type is IEntityType owner
                ? owner.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent).SelectMany(n => Named(n.TargetEntityType).Prepend((n.TargetEntityType.GetJsonPropertyName() ?? n.Name, false)))
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
