using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Microsoft.EntityFrameworkCore.Metadata.Conventions;
using Microsoft.EntityFrameworkCore.Metadata.Conventions.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Conventions;

/// <summary>
/// Applies encryption to every declared property when the model is finalized, so that it does not matter when an entity was configured. Registered by the
/// context options and by <c>ConfigureConventions</c>.
/// </summary>
internal sealed class EncryptedPropertyConvention(IRelationalTypeMappingSource typeMappingSource, bool ambientTenant) : IModelFinalizingConvention
{
    public void ProcessModelFinalizing(IConventionModelBuilder modelBuilder, IConventionContext<IConventionModelBuilder> context)
        => EncryptedModel.Apply((IMutableModel)modelBuilder.Metadata, typeMappingSource, ambientTenant);
}

/// <summary>Adds the convention to every model that is built with the options extension.</summary>
internal sealed class EncryptedPropertyConventionPlugin(IRelationalTypeMappingSource typeMappingSource, Microsoft.EntityFrameworkCore.Infrastructure.IDbContextOptions options) : IConventionSetPlugin
{
    public ConventionSet ModifyConventions(ConventionSet conventionSet)
    {
        var ambient = options.Extensions.OfType<IEnvelopeRuntimeSource>().FirstOrDefault()?.AmbientTenant is not null;
        conventionSet.Add(new EncryptedPropertyConvention(typeMappingSource, ambient));
        return conventionSet;
    }
}
