using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses a ready-made model (<c>UseModel</c>, a compiled one) that leaves an <c>[Encrypted]</c> member in the clear or seals it otherwise than it is declared: one that was made before an attribute was added, or by other options. No convention runs over such a model.
/// </summary>
internal sealed class UnencryptedModelGuard(IModelRuntimeInitializer inner, bool hasTenant) : IModelRuntimeInitializer
{
    public IModel Initialize(IModel model, bool designTime = true, IDiagnosticsLogger<DbLoggerCategory.Model.Validation>? validationLogger = null)
    {
        var initialized = inner.Initialize(model, designTime, validationLogger);

        // Migrations' snapshots, whose properties have no conversions, and what EF makes for itself come without a logger. Contexts use no such model.
        if (validationLogger is not null)
        {
            FinishedModel.RequireOnce(initialized, hasTenant);
        }

        return initialized;
    }
}
