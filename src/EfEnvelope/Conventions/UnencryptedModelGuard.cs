using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses a ready-made model (<c>UseModel</c>) that leaves an <c>[Encrypted]</c> member in the clear: one that was compiled before the attribute was added, or without EfEnvelope. No convention runs over such a model.
/// </summary>
internal sealed class UnencryptedModelGuard(IModelRuntimeInitializer inner) : IModelRuntimeInitializer
{
    private readonly ConditionalWeakTable<IModel, object> _checked = [];

    public IModel Initialize(IModel model, bool designTime = true, IDiagnosticsLogger<DbLoggerCategory.Model.Validation>? validationLogger = null)
    {
        var initialized = inner.Initialize(model, designTime, validationLogger);
        if (!_checked.TryGetValue(initialized, out _))
        {
            MarkedStructures.Refuse(initialized);
            foreach (var entityType in initialized.GetEntityTypes())
            {
                Check(entityType);
            }

            _checked.TryAdd(initialized, this);
        }

        return initialized;
    }

    private static void Check(ITypeBase type)
    {
        foreach (var property in type.GetDeclaredProperties())
        {
            if (property.FindEnvelope() is null && EncryptionDeclaration.IsEncrypted(property))
            {
                throw EncryptedPropertyValidator.Error(property, "is not encrypted in the ready-made model that UseModel(...) names. Make that model again (dotnet ef dbcontext optimize), with UseEnvelopeEncryption in the options");
            }
        }

        foreach (var complex in type.GetDeclaredComplexProperties())
        {
            Check(complex.ComplexType);
        }
    }
}
