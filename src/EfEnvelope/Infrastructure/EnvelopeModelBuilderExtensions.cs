using EfEnvelope.Conventions;
using EfEnvelope.Metadata;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope;

/// <summary>The model's side of envelope encryption.</summary>
public static class EnvelopeModelBuilderExtensions
{
    /// <summary>
    /// Applies encryption to the model and maps the key ring's tables. Call it last in <c>OnModelCreating</c>: what is configured afterwards is taken up by the convention
    /// that <c>UseEnvelopeEncryption</c> on the context's options registers, and without those options only what stands before the call is protected.
    /// </summary>
    /// <param name="modelBuilder">The model being built.</param>
    /// <param name="configure">Names and schema of the ring's tables, and the default scope. Default: tables <c>Envelope...</c> in the model's default schema.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">An encrypted property cannot be encrypted; names entity, property and the way out.</exception>
    public static ModelBuilder UseEnvelopeEncryption(this ModelBuilder modelBuilder, Action<EnvelopeModelOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(modelBuilder);
        var options = new EnvelopeModelOptions();
        configure?.Invoke(options);
        RingModel.Configure(modelBuilder.Model, options.Tables);
        EncryptedModel.Apply(modelBuilder.Model, services: null, options.AmbientTenantByDefault);
        return modelBuilder;
    }

    /// <summary>
    /// Registers the convention that applies encryption when the model is finalized, so that it does not matter when an entity is configured. For <c>ConfigureConventions</c>.
    /// </summary>
    /// <param name="configurationBuilder">The builder that <c>ConfigureConventions</c> receives.</param>
    /// <param name="configure">Names and schema of the ring's tables, and the default scope. Default: as <c>OnModelCreating</c> says, else tables <c>Envelope...</c> in the model's default schema.</param>
    /// <returns>The same builder.</returns>
    public static ModelConfigurationBuilder UseEnvelopeEncryption(this ModelConfigurationBuilder configurationBuilder, Action<EnvelopeModelOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(configurationBuilder);
        EnvelopeModelOptions? options = null;
        if (configure is not null)
        {
            configure(options = new EnvelopeModelOptions());
        }

        configurationBuilder.Conventions.Add(services =>
            new EncryptedPropertyConvention(
                new ConversionServices(services.GetRequiredService<IRelationalTypeMappingSource>(), services.GetRequiredService<IValueConverterSelector>()),
                options?.AmbientTenantByDefault ?? false,
                options?.Tables));
        return configurationBuilder;
    }
}
