using System.Reflection;
using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses <c>[Encrypted]</c> on a member that EF does not map, a field or a property without a setter: its value may be stored by a member that is not marked, in the clear, and nothing says which one.
/// Public properties with a setter need no question: EF maps them, or refuses the model, unless they are left out.
/// </summary>
internal static class UnmappedMarks
{
    private const BindingFlags Declared = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private static readonly ConditionalWeakTable<Type, MemberInfo[]> Marked = [];

    /// <summary>Notes members that are left out by the fluent API: a runtime model has no list of them.</summary>
    public static void Remember(IMutableTypeBase type)
    {
        var names = Open(type).SelectMany(m => Namesakes(m.Name).Prepend(m.Name)).Where(name => IsLeftOut(type, name)).Distinct().Order(StringComparer.Ordinal).ToList();
        if (names.Count > 0)
        {
            type.SetAnnotation(EnvelopeAnnotationNames.LeftOut, string.Join(',', names));
        }
    }

    public static void Refuse(IReadOnlyTypeBase type)
    {
        foreach (var member in Open(type))
        {
            if (!IsLeftOut(type, member.Name) && !Namesakes(member.Name).Any(name => IsLeftOut(type, name) || IsDecided(type, name)))
            {
                throw new EnvelopeConfigurationException(
                    $"Member {member.DeclaringType!.Name}.{member.Name} has [Encrypted], but EF maps no member of that name to {type.DisplayName()}: what stores its value would store it in the clear. Put [Encrypted] on the property that EF maps, or name the field as the property's own (Property(...).HasField(\"{member.Name}\")), before UseEnvelopeEncryption() where OnModelCreating calls it; where nothing stores it, take the attribute off, or say [NotMapped]. A ready-made model (UseModel, a compiled one) must be made again afterwards.")
                {
                    Entity = type.DisplayName(),
                    Property = member.Name,
                };
            }
        }
    }

    /// <summary>The marked members of the type, and of unmapped classes between it and its mapped base, by which nothing is mapped.</summary>
    private static IEnumerable<MemberInfo> Open(IReadOnlyTypeBase type)
    {
        var mappedBase = type.BaseType?.ClrType;
        IReadOnlyPropertyBase[]? members = null;
        for (var declaring = Nullable.GetUnderlyingType(type.ClrType) ?? type.ClrType; declaring is not null && declaring != mappedBase && declaring != typeof(object); declaring = declaring.BaseType)
        {
            foreach (var member in Marked.GetValue(declaring, Find))
            {
                members ??= [.. type.GetMembers(), .. (type as IReadOnlyEntityType)?.GetDerivedTypes().SelectMany(t => t.GetMembers()) ?? []];
                if (!Array.Exists(members, mapped => IsOf(mapped, member)))
                {
                    yield return member;
                }
            }
        }
    }

    private static bool IsOf(IReadOnlyPropertyBase mapped, MemberInfo member)
        => member is FieldInfo
            ? (mapped.FieldInfo is { } field && field.Name == member.Name && field.DeclaringType == member.DeclaringType) || IsHidden(mapped, member)
            : mapped.Name == member.Name;

    /// <summary>Whether the field is of a property that a mapped one of the name hides (<c>new</c>): that is another one, which says for itself that it is plain. An override is not.</summary>
    private static bool IsHidden(IReadOnlyPropertyBase mapped, MemberInfo member)
        => member.Name == $"<{mapped.Name}>k__BackingField"
            && mapped.PropertyInfo?.GetMethod?.GetBaseDefinition().DeclaringType is { } origin
            && member.DeclaringType!.GetProperty(mapped.Name, Declared)?.GetMethod?.GetBaseDefinition().DeclaringType != origin;

    private static MemberInfo[] Find(Type type)
        => [.. type.GetFields(Declared).Concat<MemberInfo>(type.GetProperties(Declared).Where(IsAsked)).Where(m => m.IsDefined(typeof(EncryptedAttribute), inherit: false) && !IsNotMapped(m))];

    private static bool IsAsked(PropertyInfo property) => property.GetIndexParameters().Length == 0 && !(property.CanWrite && property.GetMethod is { IsPublic: true });

    private static bool IsNotMapped(MemberInfo member)
        => member.IsDefined(typeof(System.ComponentModel.DataAnnotations.Schema.NotMappedAttribute), inherit: true)
            || (member is FieldInfo field && Namesakes(field.Name).Any(name => field.DeclaringType!.GetProperty(name, Declared) is { } property && IsNotMapped(property)));

    private static bool IsLeftOut(IReadOnlyTypeBase type, string name)
        => (type is IConventionTypeBase built && built.IsIgnored(name))
            || (type.FindAnnotation(EnvelopeAnnotationNames.LeftOut)?.Value is string left && left.Split(',').Contains(name, StringComparer.Ordinal))
            || (type.BaseType is { } mappedBase && IsLeftOut(mappedBase, name));

    /// <summary>Whether a mapped member is encrypted, or the fluent API says that it is not.</summary>
    private static bool IsDecided(IReadOnlyTypeBase type, string name)
        => type.FindProperty(name) is { } property && (EncryptionDeclaration.IsEncrypted(property) || property.FindAnnotation(EnvelopeAnnotationNames.Encrypted) is not null);

    /// <summary>A field's own property, or a property's own field, by the names that EF itself pairs; of an explicit implementation the property of the plain name.</summary>
    private static IEnumerable<string> Namesakes(string name)
    {
        if (name.EndsWith(">k__BackingField", StringComparison.Ordinal))
        {
            return [name[1..name.IndexOf('>', StringComparison.Ordinal)]];
        }

        if (name.LastIndexOf('.') is var dot and > 0)
        {
            return [name[(dot + 1)..]];
        }

        var bare = name.StartsWith("m_", StringComparison.Ordinal) ? name[2..] : name.Trim('_');
        if (bare.Length == 0)
        {
            return [];
        }

        var (upper, lower) = (char.ToUpperInvariant(bare[0]) + bare[1..], char.ToLowerInvariant(bare[0]) + bare[1..]);
        return new[] { upper, lower, "_" + lower, "_" + upper, "m_" + lower, "m_" + upper, lower + "_" }.Where(n => n != name);
    }
}
