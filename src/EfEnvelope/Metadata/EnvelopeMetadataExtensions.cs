using System.Runtime.CompilerServices;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Metadata;

/// <summary>Accessors of the applied annotations. Cheap: one annotation look-up each.</summary>
internal static class EnvelopeMetadataExtensions
{
    private static readonly ConditionalWeakTable<IReadOnlyTypeBase, ScopeBox> Scopes = [];

    /// <summary>The declaration of an encrypted property, or null for a plain one.</summary>
    public static ColumnDeclaration? FindEnvelope(this IReadOnlyProperty property)
        => property.FindAnnotation(EnvelopeAnnotationNames.Column)?.Value is string token ? ColumnDeclaration.Of(token) : null;

    /// <summary>The declared scope of a finalized model's type.</summary>
    public static ScopeDeclaration GetScope(this IReadOnlyTypeBase type)
        => Scopes.GetValue(type, static t => new ScopeBox(ScopeDeclaration.Of(t, t.Model.IsAmbientByDefault()))).Scope;

    /// <summary>Whether entities without a declaration of their own belong to the context's tenant.</summary>
    public static bool IsAmbientByDefault(this IReadOnlyModel model)
        => model.FindAnnotation(EnvelopeAnnotationNames.Enabled)?.Value is "1;ambient";

    /// <summary>Refuses a model that knows nothing of the options' tenant where entities would belong to it by default: every tenant's rows would be sealed with one key.</summary>
    /// <exception cref="EnvelopeConfigurationException">It was made without <c>UseTenant</c>.</exception>
    public static void RequireAmbient(this IReadOnlyModel model)
    {
        if (model.IsEnvelopeEnabled() && !model.IsAmbientByDefault() && model.GetEntityTypes().FirstOrDefault(IsGlobalByDefault) is { } entityType)
        {
            throw new EnvelopeConfigurationException(
                $"The options call UseTenant(...), but the model in use was made without it, and would seal every tenant's rows of {entityType.DisplayName()} with one key. Make a compiled model again (dotnet ef dbcontext optimize) with UseTenant in the options of design time; options of one context type with and without UseTenant must not share a cache of models (UseMemoryCache).");
        }
    }

    /// <summary>Whether the type has values that are sealed with the global key because nothing says otherwise.</summary>
    private static bool IsGlobalByDefault(IReadOnlyTypeBase type)
        => (ScopeDeclaration.OwningRoot(type).FindAnnotation(EnvelopeAnnotationNames.Scope) is null && type.GetDeclaredProperties().Any(p => p.FindEnvelope() is { Parent: DeclaredScope.Global }))
            || type.GetDeclaredComplexProperties().Any(c => IsGlobalByDefault(c.ComplexType));

    /// <summary>Whether UseEnvelopeEncryption was applied to the model.</summary>
    public static bool IsEnvelopeEnabled(this IReadOnlyModel model)
        => model.FindAnnotation(EnvelopeAnnotationNames.Enabled) is not null;

    /// <summary>Whether the type is one of the ring's own tables.</summary>
    public static bool IsRingTable(this IReadOnlyEntityType entityType)
        => entityType.FindAnnotation(EnvelopeAnnotationNames.RingTable) is not null;

    private sealed class ScopeBox(ScopeDeclaration scope)
    {
        public ScopeDeclaration Scope => scope;
    }
}
