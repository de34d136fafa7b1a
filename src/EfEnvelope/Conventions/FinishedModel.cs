using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// What a model must hold when a context uses it, wherever it comes from: each <c>[Encrypted]</c> member is sealed, by the conversion that EF really takes, and as it is declared now. Conventions that run after EfEnvelope's, models that were compiled
/// before a change, and caches of models that other options share could each say otherwise, and store plaintext or use another key without an error.
/// </summary>
internal static class FinishedModel
{
    private const string Again = "A ready-made model (UseModel, a compiled one) must be made again (dotnet ef dbcontext optimize), with UseEnvelopeEncryption in the options";

    private static readonly ConditionalWeakTable<IModel, object> Checked = [];
    private static readonly ConditionalWeakTable<IModel, object> CheckedWithTenant = [];

    /// <summary><see cref="Require"/>, once for each model.</summary>
    public static void RequireOnce(IModel model, bool hasTenant)
    {
        var known = hasTenant ? CheckedWithTenant : Checked;
        if (!known.TryGetValue(model, out _))
        {
            Require(model, hasTenant);
            known.TryAdd(model, model);
        }
    }

    /// <param name="model">An initialized model, of design time or of run time.</param>
    /// <param name="hasTenant">Whether the options name the context's tenant.</param>
    /// <exception cref="EnvelopeConfigurationException">It would store plaintext, or seal with another key or under another id than declared.</exception>
    public static void Require(IModel model, bool hasTenant)
    {
        MarkedStructures.Refuse(model);
        UnseenMarks.Refuse(model);
        if (hasTenant)
        {
            model.RequireAmbient();
        }

        foreach (var entityType in model.GetEntityTypes())
        {
            if (model.IsEnvelopeEnabled() && !entityType.IsRingTable())
            {
                ScopeProperties.RequireApplied(entityType);
                ScopeProperties.RefuseOnComplex(entityType);
                if (model is not RuntimeModel)
                {
                    // A convention that ran later may have given it a collation, or a type that pads.
                    ScopeProperties.RequireUnchanged(entityType);
                }
            }

            Check(entityType, entityType);
        }
    }

    private static void Check(ITypeBase type, IEntityType entityType)
    {
        foreach (var property in type.GetDeclaredProperties())
        {
            var declared = EncryptionDeclaration.IsEncrypted(property);
            if (property.FindAnnotation(EnvelopeAnnotationNames.Column)?.Value is string token)
            {
                RequireSealed(property, token);
                if (declared)
                {
                    RequireAsDeclared(property, token);
                }

                if (type.Model is not RuntimeModel)
                {
                    // A convention that ran later may have made a key or an index of it.
                    EncryptedPropertyValidator.Validate(property, entityType);
                }
            }
            else if (declared)
            {
                throw EncryptedPropertyValidator.Error(property, $"is not encrypted in the model in use. {Again}; where a convention of the application adds the property, call UseEnvelopeEncryption() in ConfigureConventions, after that convention");
            }
        }

        foreach (var complex in type.GetDeclaredComplexProperties())
        {
            Check(complex.ComplexType, entityType);
        }
    }

    private static void RequireSealed(IProperty property, string token)
    {
        if (property.GetJsonValueReaderWriter() is { } form)
        {
            throw EncryptedPropertyValidator.Error(
                property, $"has a JSON reader and writer of its own ({form.GetType().Name}), by which EF would write its value into a document in the clear. Let no convention set one for it. {Again}");
        }

        if (EnvelopeValueConverters.FindToken(property.FindTypeMapping()?.Converter) != token)
        {
            throw EncryptedPropertyValidator.Error(
                property,
                $"has another conversion than the one that seals it, and would be stored in the clear: a convention or a call that came after EfEnvelope's replaced it. Let it leave encrypted properties alone, or declare the conversion by HasConversion, which EfEnvelope keeps, or call UseEnvelopeEncryption() in ConfigureConventions, after that convention. {Again}");
        }
    }

    private static void RequireAsDeclared(IProperty property, string token)
    {
        var declaration = EncryptionDeclaration.Of(property);
        var scope = ScopeDeclaration.Of(property.DeclaringType, property.DeclaringType.Model.IsAmbientByDefault());
        var armored = declaration.Armored || EncryptedModel.IsInJson(property.DeclaringType);
        if (ColumnDeclaration.CreateToken(declaration.ColumnId, scope, declaration.RowBound, armored, declaration.Padding, declaration.FormerColumnIds) != token)
        {
            throw EncryptedPropertyValidator.Error(property, $"is sealed by the model in use otherwise than it is declared (column id, data key, row binding, padding or armour). {Again}");
        }
    }
}
