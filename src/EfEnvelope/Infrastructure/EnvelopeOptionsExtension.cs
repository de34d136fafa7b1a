using System.Data.Common;
using System.Globalization;
using EfEnvelope.Conventions;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Infrastructure;

/// <summary>
/// Brings EfEnvelope's services into EF's. Holds no runtime: one internal service provider of EF serves every configuration with the same shape, and each context finds its runtime
/// through its own options.
/// </summary>
internal sealed class EnvelopeOptionsExtension(EnvelopeOptionsBuilder builder) : IDbContextOptionsExtension, IEnvelopeRuntimeSource
{
    private ExtensionInfo? _info;

    public DbContextOptionsExtensionInfo Info => _info ??= new ExtensionInfo(this);

    public Func<DbContext, object?>? AmbientTenant => builder.AmbientTenant;

    public Func<DbConnection>? RingConnection => builder.RingConnection;

    public EnvelopeOptions Options => builder.Options;

    /// <summary>What was configured, for a further call to add to.</summary>
    public EnvelopeOptionsBuilder CopyBuilder() => builder.Copy();

    public EnvelopeRuntime GetRuntime(IServiceProvider? applicationServices) => EnvelopeRuntimes.Get(builder, applicationServices);

    public void Require(IModel model) => FinishedModel.RequireOnce(model, AmbientTenant is not null);

    public void ApplyServices(IServiceCollection services) => EnvelopeServices.Add(services, AmbientTenant is not null);

    public void Validate(IDbContextOptions options)
    {
        if (options.FindExtension<CoreOptionsExtension>()?.InternalServiceProvider is not null)
        {
            throw new EnvelopeConfigurationException("UseEnvelopeEncryption(...) cannot add its services to the provider of UseInternalServiceProvider(...), and nothing would be encrypted. Remove UseInternalServiceProvider.");
        }

        var extensions = options.Extensions.ToList();
        var provider = extensions.FindIndex(e => e.Info.IsDatabaseProvider);
        if (provider < 0)
        {
            return;
        }

        if (extensions[provider] is not RelationalOptionsExtension)
        {
            throw new EnvelopeConfigurationException(
                $"EfEnvelope needs a relational provider; this context uses {extensions[provider].GetType().Name.Replace("OptionsExtension", "", StringComparison.Ordinal)}. For tests use SQLite: UseSqlite(\"Data Source=:memory:\").");
        }

        if (provider > extensions.IndexOf(this))
        {
            throw new EnvelopeConfigurationException("UseEnvelopeEncryption(...) must come after the database provider: call UseNpgsql(...) or UseSqlite(...) first.");
        }
    }

    private sealed class ExtensionInfo(EnvelopeOptionsExtension extension) : DbContextOptionsExtensionInfo(extension)
    {
        private bool HasTenant => ((EnvelopeOptionsExtension)Extension).AmbientTenant is not null;

        public override bool IsDatabaseProvider => false;

        public override string LogFragment => "using EfEnvelope ";

        public override int GetServiceProviderHashCode() => HasTenant ? 1 : 0;

        public override bool ShouldUseSameServiceProvider(DbContextOptionsExtensionInfo other) => other is ExtensionInfo info && info.HasTenant == HasTenant;

        public override void PopulateDebugInfo(IDictionary<string, string> debugInfo)
            => debugInfo["EfEnvelope:AmbientTenant"] = HasTenant.ToString(CultureInfo.InvariantCulture);
    }
}
