using System.Diagnostics.CodeAnalysis;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Metadata;

/// <summary>Where the keys of an entity's rows belong, as the model declares it on the root entity type.</summary>
/// <param name="Parent">Kind of the scope that the row's tenant or subject names: global, tenant or subject.</param>
/// <param name="SubjectName">The subject's name, for <see cref="DeclaredScope.Subject"/>.</param>
/// <param name="PropertyName">The root entity's scalar property that holds the value; null for global and for the ambient tenant.</param>
/// <param name="RowIdProperty">Name of the row id property where every row has keys of its own; else null.</param>
internal sealed record ScopeDeclaration(DeclaredScope Parent, string? SubjectName, string? PropertyName, string? RowIdProperty)
{
    public static readonly ScopeDeclaration Global = new(DeclaredScope.Global, null, null, null);
    public static readonly ScopeDeclaration AmbientTenant = new(DeclaredScope.Tenant, null, null, null);

    public static ScopeDeclaration ForTenant(string property)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(property);
        return new ScopeDeclaration(DeclaredScope.Tenant, null, property, null);
    }

    public static ScopeDeclaration ForSubject(string name, string property)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(property);
        return name.AsSpan().IndexOfAny("/|@") < 0
            ? new ScopeDeclaration(DeclaredScope.Subject, name, property, null)
            : throw new EnvelopeConfigurationException($"Subject name '{name}' holds '/', '|' or '@'. Use a plain word, such as 'customer'.");
    }

    /// <summary>Whether each row has keys of its own, under the parent scope's kek.</summary>
    [MemberNotNullWhen(true, nameof(RowIdProperty))]
    public bool PerRow => RowIdProperty is not null;

    /// <summary>Whether the tenant comes from the context and not from the row.</summary>
    public bool IsAmbient => Parent == DeclaredScope.Tenant && PropertyName is null;

    public string ToAnnotation() => Parent switch
    {
        DeclaredScope.Tenant => PropertyName is null ? "tenant" : $"tenant|{PropertyName}",
        DeclaredScope.Subject => $"subject|{SubjectName}|{PropertyName}",
        _ => "global",
    };

    /// <summary>The declaration that holds for a type: of its root, or of its owner's root; the model's default where there is none.</summary>
    public static ScopeDeclaration Of(IReadOnlyTypeBase type, bool ambientByDefault)
    {
        var root = OwningRoot(type);
        var rowId = root.FindAnnotation(EnvelopeAnnotationNames.PerRow)?.Value as string;
        var declared = root.FindAnnotation(EnvelopeAnnotationNames.Scope)?.Value as string;
        var parts = declared?.Split('|');
        return parts switch
        {
            null => (ambientByDefault ? AmbientTenant : Global) with { RowIdProperty = rowId },
            ["tenant"] => new(DeclaredScope.Tenant, null, null, rowId),
            ["tenant", var property] => new(DeclaredScope.Tenant, null, property, rowId),
            ["subject", var name, var property] => new(DeclaredScope.Subject, name, property, rowId),
            _ => new(DeclaredScope.Global, null, null, rowId),
        };
    }

    /// <summary>The root entity type whose row decides: climbs complex types, ownerships and inheritance.</summary>
    public static IReadOnlyEntityType OwningRoot(IReadOnlyTypeBase type)
    {
        var entityType = type is IReadOnlyComplexType complex ? complex.ContainingEntityType : (IReadOnlyEntityType)type;
        while (entityType.FindOwnership() is { } ownership)
        {
            entityType = ownership.PrincipalEntityType;
        }

        return entityType.GetRootType();
    }
}

/// <summary>Kind of a declared parent scope.</summary>
internal enum DeclaredScope
{
    Global,
    Tenant,
    Subject,
}
