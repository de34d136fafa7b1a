using System.Linq.Expressions;
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

    private const int MaxClosings = 64;

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

    /// <summary>The first marked member of the types that a value of this one may be made of, as far as they are declared. What a type holds of its type argument is told by its members: an <c>Id&lt;Customer&gt;</c> holds no customer.</summary>
    private static MemberInfo? Find(Type root)
    {
        var seen = new HashSet<Type>();
        var closings = new Dictionary<Type, int>();
        var bases = new HashSet<Type>();
        var open = new Queue<Type>([root]);
        while (open.TryDequeue(out var type))
        {
            while (type.GetElementType() is { } element)
            {
                type = element;
            }

            if (type.IsGenericParameter || type.IsEnum || !seen.Add(type))
            {
                continue;
            }

            if (IsOfPlatform(type))
            {
                // Collections and wrappers hold what they are made with, and show it by no member of theirs.
                if (type.IsGenericType && !typeof(Delegate).IsAssignableFrom(type) && !typeof(Expression).IsAssignableFrom(type))
                {
                    Array.ForEach(type.GetGenericArguments(), open.Enqueue);
                }

                continue;
            }

            if (type.IsGenericType)
            {
                // One that leads to ever longer ones of its own definition ends here.
                var definition = type.GetGenericTypeDefinition();
                closings[definition] = closings.GetValueOrDefault(definition) + 1;
                if (closings[definition] > MaxClosings)
                {
                    Array.ForEach(type.GetGenericArguments(), open.Enqueue);
                    continue;
                }

                if (type.IsAbstract && !bases.Contains(type))
                {
                    // What it holds stands in types that are derived from it.
                    Array.ForEach(type.GetGenericArguments(), open.Enqueue);
                }
            }

            if (Find(type, open, bases) is { } mark)
            {
                return mark;
            }
        }

        return null;
    }

    private static bool IsOfPlatform(Type type) => type.Namespace is { } name && (name == "System" || name.StartsWith("System.", StringComparison.Ordinal));

    /// <summary>The type's own marked member; else puts what it is made of, or derived from, to the others.</summary>
    private static MemberInfo? Find(Type type, Queue<Type> open, HashSet<Type> bases)
    {
        if (type.BaseType is { } baseType)
        {
            bases.Add(baseType);
            open.Enqueue(baseType);
        }

        foreach (var implemented in Known(type.GetInterfaces))
        {
            // IEquatable<X>, IComparable<X>, IParsable<X> hold no X; a collection of its own holds its elements.
            if (!IsOfPlatform(implemented) || (implemented.IsGenericType && implemented.GetGenericTypeDefinition() == typeof(IEnumerable<>)))
            {
                bases.Add(implemented);
                open.Enqueue(implemented);
            }
        }

        foreach (var derived in Known(() => type.GetCustomAttributes<JsonDerivedTypeAttribute>(inherit: false).ToArray()))
        {
            open.Enqueue(derived.DerivedType);
        }

        foreach (var member in Known(() => type.GetFields(Declared)).Concat<MemberInfo>(Known(() => type.GetProperties(Declared))))
        {
            try
            {
                if (member.IsDefined(typeof(EncryptedAttribute), inherit: false))
                {
                    return member;
                }

                open.Enqueue(member is FieldInfo field ? field.FieldType : ((PropertyInfo)member).PropertyType);
            }
            catch (Exception error) when (IsMissing(error))
            {
                // No value of it exists.
            }
        }

        return null;
    }

    private static T[] Known<T>(Func<T[]> ask)
    {
        try
        {
            return ask();
        }
        catch (Exception error) when (IsMissing(error))
        {
            return [];
        }
    }

    /// <summary>The assembly of a member's type, or of an attribute, is not there: some libraries leave such ones out.</summary>
    private static bool IsMissing(Exception error) => error is FileNotFoundException or FileLoadException or TypeLoadException;
}
