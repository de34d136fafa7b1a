using Microsoft.CodeAnalysis;

namespace EfEnvelope.Analyzers.Model;

/// <summary>A call of <c>IsEncrypted()</c>; the member is null for a shadow property.</summary>
internal sealed class FluentEncryption(ISymbol? member, INamedTypeSymbol? enclosing)
{
    public ISymbol? Member { get; } = member;

    public INamedTypeSymbol? Enclosing { get; } = enclosing;
}

/// <summary>A type that is named as an entity, and the class whose code names it: as a set, which maps it in a context alone, or as one that is configured.</summary>
internal sealed class MappedType(INamedTypeSymbol type, INamedTypeSymbol? enclosing, bool configured)
{
    public bool Configured { get; } = configured;

    public INamedTypeSymbol Type { get; } = type;

    public INamedTypeSymbol? Enclosing { get; } = enclosing;
}
