using System.Reflection;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Finds <c>[Encrypted]</c> where EF does not look: it keeps a base's member for a derived type that overrides it, and knows nothing of interfaces, nor of the members of what one property holds. The value would stand in the clear.
/// </summary>
internal static class UnseenMarks
{
    private const BindingFlags Declared = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    /// <summary>The marked member of the type's classes or interfaces, by which the mapped one goes for it; null where there is none.</summary>
    /// <param name="type">The type that has the member, or inherits it.</param>
    /// <param name="member">The mapped member.</param>
    public static MemberInfo? Find(IReadOnlyTypeBase type, IReadOnlyPropertyBase member)
    {
        if (Mapped(member) is not { DeclaringType: { } declaring } || member.IsIndexerProperty())
        {
            return null;
        }

        for (var derived = type.ClrType; derived is not null && derived != declaring; derived = derived.BaseType)
        {
            if (Marked(derived, member.Name) is { } found)
            {
                return found;
            }
        }

        return type.ClrType.GetInterfaces().Select(contract => Marked(contract, member.Name)).FirstOrDefault(found => found is not null);
    }

    /// <summary>Refuses a mark that stands on no mapped member, in the whole model. Histories have taken up their declarations before. What EF makes for <c>SqlQuery</c> stores nothing, and nobody configures it.</summary>
    public static void Refuse(IReadOnlyModel model)
    {
        if (model.FindAnnotation(EnvelopeAnnotationNames.AdHoc) is not null)
        {
            return;
        }

        foreach (var entityType in model.GetEntityTypes().Where(e => !e.IsRingTable()))
        {
            Refuse(entityType);
        }
    }

    private static void Refuse(IReadOnlyTypeBase type)
    {
        UnmappedMarks.Refuse(type);

        foreach (var property in type.GetProperties())
        {
            // What the fluent API says of the mapped property counts, either way.
            if (property.FindAnnotation(EnvelopeAnnotationNames.Encrypted) is null && !EncryptionDeclaration.IsMarked(property) && Find(type, property) is { } mark)
            {
                var place = $"{Mapped(property)!.DeclaringType!.Name}.{property.Name}";
                throw EncryptedPropertyValidator.Error(
                    property,
                    $"has [Encrypted] on {mark.DeclaringType!.Name}.{property.Name} alone, {(mark.DeclaringType.IsInterface ? "an interface" : "an override")}, which EF does not look at: its values would stand in the clear. Put [Encrypted] on {place}, which EF maps, or say by IsEncrypted() or IsNotEncrypted() of it, before UseEnvelopeEncryption(), what it is");
            }

            ContainedMarks.Refuse(property);
        }

        foreach (var complex in type.GetDeclaredComplexProperties())
        {
            Refuse(complex.ComplexType);
        }
    }

    private static MemberInfo? Mapped(IReadOnlyPropertyBase member) => (MemberInfo?)member.PropertyInfo ?? member.FieldInfo;

    private static PropertyInfo? Marked(Type type, string name) => Array.Find(type.GetProperties(Declared), p => p.Name == name && p.GetCustomAttribute<EncryptedAttribute>(inherit: false) is not null);
}
