using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json.Serialization;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Finds <c>[Encrypted]</c> inside of what one scalar property holds: a class that a conversion renders, or a provider by itself (Npgsql's <c>jsonb</c>). EF knows nothing of its members, and stores them in the clear with the rest.
/// </summary>
internal static class ContainedMarks
{
    private const BindingFlags Declared = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private static readonly ConditionalWeakTable<Type, StrongBox<MemberInfo?>> Found = [];

    /// <summary>Refuses it where nothing says of the property itself, by attribute or by the fluent API, whether it is encrypted.</summary>
    public static void Refuse(IReadOnlyProperty property)
    {
        if (property.FindAnnotation(EnvelopeAnnotationNames.Encrypted) is null && !EncryptionDeclaration.IsMarked(property) && Found.GetValue(property.ClrType, static type => new(Find(type))).Value is { } mark)
        {
            throw EncryptedPropertyValidator.Error(
                property,
                $"is stored as one value, of which {mark.DeclaringType!.Name}.{mark.Name} is a part: [Encrypted] there encrypts nothing, and its values would stand in the clear. Put [Encrypted] on {property.DeclaringType.DisplayName()}.{property.Name}, map it as a complex or owned type (ComplexProperty, OwnsOne, OwnsMany), or say by IsEncrypted() or IsNotEncrypted() of it, before UseEnvelopeEncryption(), what it is");
        }
    }

    /// <summary>The first marked member of the types that a value of this one may be made of, as far as they are declared.</summary>
    private static MemberInfo? Find(Type root)
    {
        var seen = new HashSet<Type>();
        var open = new Queue<Type>([root]);
        while (open.TryDequeue(out var type))
        {
            while (type.GetElementType() is { } element)
            {
                type = element;
            }

            if (type.IsGenericType)
            {
                // Of a generic type its definition, once, and what it is made with: closed ones may lead to ever longer ones.
                Array.ForEach(type.GetGenericArguments(), open.Enqueue);
                type = type.GetGenericTypeDefinition();
            }

            // What the platform's types hold of others is told by their arguments.
            if (type.IsGenericParameter || type.IsEnum || IsOfPlatform(type) || !seen.Add(type))
            {
                continue;
            }

            if (Find(type, open) is { } mark)
            {
                return mark;
            }
        }

        return null;
    }

    private static bool IsOfPlatform(Type type) => type.Namespace is { } name && (name == "System" || name.StartsWith("System.", StringComparison.Ordinal));

    /// <summary>The type's own marked member; else puts what it is made of, or derived from, to the others.</summary>
    private static MemberInfo? Find(Type type, Queue<Type> open)
    {
        if (type.BaseType is { } baseType)
        {
            open.Enqueue(baseType);
        }

        Array.ForEach(type.GetInterfaces(), open.Enqueue);
        foreach (var derived in type.GetCustomAttributes<JsonDerivedTypeAttribute>(inherit: false))
        {
            open.Enqueue(derived.DerivedType);
        }

        foreach (var member in type.GetFields(Declared).Concat<MemberInfo>(type.GetProperties(Declared)))
        {
            try
            {
                if (member.IsDefined(typeof(EncryptedAttribute), inherit: false))
                {
                    return member;
                }

                open.Enqueue(member is FieldInfo field ? field.FieldType : ((PropertyInfo)member).PropertyType);
            }
            catch (Exception error) when (error is FileNotFoundException or FileLoadException or TypeLoadException)
            {
                // The assembly of the member's type, or of an attribute, is not there: some libraries leave such ones out, and no value of them exists.
            }
        }

        return null;
    }
}
