using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Microsoft.EntityFrameworkCore.Metadata.Conventions;
using Microsoft.EntityFrameworkCore.Metadata.Conventions.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Conventions;

/// <summary>The provider's services that find conversions.</summary>
internal sealed record ConversionServices(IRelationalTypeMappingSource TypeMappings, IValueConverterSelector ConverterSelector);

/// <summary>
/// Applies encryption to every declared property when the model is finalized, so that it does not matter when an entity was configured, and looks at the finished model: conventions of the application may run afterwards.
/// Registered by the context options and by <c>ConfigureConventions</c>.
/// </summary>
internal sealed class EncryptedPropertyConvention(ConversionServices services, bool ambientTenant, RingTableOptions? tables = null) : IModelFinalizingConvention, IModelFinalizedConvention
{
    public void ProcessModelFinalizing(IConventionModelBuilder modelBuilder, IConventionContext<IConventionModelBuilder> context)
    {
        var model = (IMutableModel)modelBuilder.Metadata;
        EncryptedModel.Apply(model, services, ambientTenant);
        if (tables is not null && model.IsEnvelopeEnabled())
        {
            RingModel.Configure(model, tables);
        }
    }

    public IModel ProcessModelFinalized(IModel model)
    {
        FinishedModel.RequireOnce(model, ambientTenant);
        return model;
    }
}

/// <summary>Adds the convention to every model that is built with the options extension.</summary>
internal sealed class EncryptedPropertyConventionPlugin(
    IRelationalTypeMappingSource typeMappings, IValueConverterSelector converterSelector, IEnvelopeRuntimeSource source) : IConventionSetPlugin
{
    public ConventionSet ModifyConventions(ConventionSet conventionSet)
    {
        var convention = new EncryptedPropertyConvention(new ConversionServices(typeMappings, converterSelector), source.AmbientTenant is not null);
        conventionSet.ModelFinalizingConventions.Add(convention);

        // Before EF makes the runtime model, which no longer knows what the validator asks.
        conventionSet.ModelFinalizedConventions.Insert(0, convention);
        return conventionSet;
    }
}
