using Microsoft.CodeAnalysis;

namespace EfEnvelope.Analyzers.Model;

internal static class SymbolExtensions
{
    /// <summary>The base types from the nearest on, without the type itself.</summary>
    public static IEnumerable<INamedTypeSymbol> BaseTypes(this ITypeSymbol? type)
    {
        for (var current = type?.BaseType; current is not null; current = current.BaseType)
        {
            yield return current;
        }
    }

    /// <summary>Instance properties and fields, inherited ones included.</summary>
    public static IEnumerable<ISymbol> DataMembers(this ITypeSymbol type)
        => new[] { type }.Concat(type.BaseTypes()).SelectMany(t => t.GetMembers()).Where(m => m is IPropertySymbol { IsStatic: false, IsIndexer: false } or IFieldSymbol { IsStatic: false, IsImplicitlyDeclared: false });

    public static ISymbol? FindMember(this ITypeSymbol type, string name) => type.DataMembers().FirstOrDefault(m => m.Name == name);

    public static ITypeSymbol? DataType(this ISymbol member) => (member as IPropertySymbol)?.Type ?? (member as IFieldSymbol)?.Type;

    public static bool HasAttribute(this ISymbol symbol, params string[] names)
        => symbol.GetAttributes().Any(a => a.AttributeClass is { } type && names.Contains(type.Name));

    /// <summary>The type behind a nullable or a collection.</summary>
    public static ITypeSymbol Element(this ITypeSymbol type)
        => type switch
        {
            IArrayTypeSymbol array => array.ElementType,
            INamedTypeSymbol { TypeArguments: { Length: 1 } arguments } => arguments[0],
            _ => type,
        };
}
