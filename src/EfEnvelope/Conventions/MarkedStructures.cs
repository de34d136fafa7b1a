using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses <c>[Encrypted]</c> on what has no column of its own to encrypt (complex properties, owned types and other navigations): their values would stand in the clear.
/// </summary>
internal static class MarkedStructures
{
    public static void Refuse(IReadOnlyModel model)
    {
        foreach (var entityType in model.GetEntityTypes())
        {
            if (entityType.IsRingTable())
            {
                continue;
            }

            Refuse(entityType, entityType.GetNavigations());
            Refuse(entityType, entityType.GetSkipNavigations());
            Refuse(entityType);
        }
    }

    private static void Refuse(IReadOnlyTypeBase type)
    {
        Refuse(type, type.GetComplexProperties());
        foreach (var property in type.GetDeclaredComplexProperties())
        {
            Refuse(property.ComplexType);
        }
    }

    private static void Refuse(IReadOnlyTypeBase type, IEnumerable<IReadOnlyPropertyBase> members)
    {
        foreach (var member in members)
        {
            if (!EncryptionDeclaration.IsMarked(member) && UnseenMarks.Find(type, member) is null)
            {
                continue;
            }

            var (what, whose) = member switch
            {
                IReadOnlyComplexProperty complex => ("a complex property", complex.ComplexType.ClrType),
                IReadOnlyNavigationBase navigation => (navigation.TargetEntityType.FindOwnership()?.PrincipalToDependent == navigation ? "an owned type" : "a navigation", navigation.TargetEntityType.ClrType),
                _ => ("no scalar property", member.ClrType),
            };
            throw EncryptedPropertyValidator.Error(
                member,
                $"is {what}: [Encrypted] on it encrypts nothing, and its values would stand in the clear. Put [Encrypted] on the scalar properties of {whose.Name} instead, or map {member.Name} to one column (Property(x => x.{member.Name}).HasConversion(...))");
        }
    }
}
