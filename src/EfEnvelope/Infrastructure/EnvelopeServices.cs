using EfEnvelope.Conventions;
using EfEnvelope.Querying;
using EfEnvelope.Reading;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Writing;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata.Conventions.Infrastructure;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace EfEnvelope.Infrastructure;

/// <summary>EfEnvelope's hooks: additions to EF's services, and decorators around the provider's. Public EF services only.</summary>
internal static class EnvelopeServices
{
    public static void Add(IServiceCollection services, bool hasTenant)
    {
        services.AddScoped<IEnvelopeRuntimeSource>(provider => provider.GetRequiredService<IDbContextOptions>().FindExtension<EnvelopeOptionsExtension>()!);
        services.AddScoped<EnvelopeSession>();
        services.AddScoped<IResettableService>(provider => provider.GetRequiredService<EnvelopeSession>());
        services.AddScoped<IConventionSetPlugin, EncryptedPropertyConventionPlugin>();
        Decorate<IDatabase>(services, (provider, inner) => new CheckedModelDatabase(
            new BufferingDatabase(
                new EnvelopeDatabase(
                    new RefusingDatabase(inner, provider.GetRequiredService<ICurrentDbContext>()),
                    provider.GetRequiredService<ICurrentDbContext>(),
                    provider.GetRequiredService<EnvelopeSession>(),
                    provider.GetRequiredService<IRelationalConnection>(),
                    provider.GetRequiredService<IInterceptors>()),
                provider.GetRequiredService<ICurrentDbContext>()),
            provider.GetRequiredService<ICurrentDbContext>(),
            hasTenant));
        Decorate<IRelationalCommandDiagnosticsLogger>(services, (provider, inner) => new EnvelopeCommandLogger(inner, provider.GetRequiredService<EnvelopeSession>()));
        Decorate<IModificationCommandFactory>(services, (provider, inner) => new EnvelopeModificationCommandFactory(inner, provider.GetRequiredService<IRelationalTypeMappingSource>()));
        Decorate<IQuerySqlGeneratorFactory>(services, (provider, inner) => new EnvelopeQuerySqlGeneratorFactory(inner, provider.GetRequiredService<QuerySqlGeneratorDependencies>(), [new ReadPlanner(), new BulkUpdatePlanner()]));
        Decorate<IQueryTranslationPreprocessorFactory>(
            services, (provider, inner) => new EnvelopeQueryPreprocessorFactory(inner, provider.GetRequiredService<QueryTranslationPreprocessorDependencies>()));
        Decorate<IQueryTranslationPostprocessorFactory>(
            services, (provider, inner) => new EnvelopeQueryPostprocessorFactory(inner, provider.GetRequiredService<QueryTranslationPostprocessorDependencies>()));
        Decorate<IRelationalQueryStringFactory>(services, (_, inner) => new EnvelopeQueryStringFactory(inner));
        Decorate<IMigrationsModelDiffer>(services, (_, inner) => new PlaintextColumnGuard(inner));
        Decorate<IModelRuntimeInitializer>(services, (_, inner) => new UnencryptedModelGuard(inner, hasTenant));
        Decorate<IRelationalDatabaseCreator>(services, (provider, inner) => new RingAwareDatabaseCreator(inner, provider.GetRequiredService<ICurrentDbContext>()));
    }

    private static void Decorate<TService>(IServiceCollection services, Func<IServiceProvider, TService, TService> decorate)
        where TService : class
    {
        for (var i = services.Count - 1; i >= 0; i--)
        {
            var inner = services[i];
            if (inner.ServiceType != typeof(TService))
            {
                continue;
            }

            var create = Creator(services, inner);
            services[i] = new ServiceDescriptor(typeof(TService), provider => decorate(provider, (TService)create(provider)), inner.Lifetime);
            return;
        }

        throw new EnvelopeConfigurationException(
            $"EfEnvelope finds no {typeof(TService).Name}: call UseEnvelopeEncryption(...) after a relational database provider (UseNpgsql, UseSqlite).");
    }

    /// <summary>How the decorated service is made: by the container, under the name of its own type, as it would be without us.</summary>
    private static Func<IServiceProvider, object> Creator(IServiceCollection services, ServiceDescriptor descriptor)
    {
        if (descriptor.ImplementationInstance is { } instance)
        {
            return _ => instance;
        }

        if (descriptor.ImplementationFactory is { } factory)
        {
            return factory;
        }

        var type = descriptor.ImplementationType!;
        services.TryAdd(new ServiceDescriptor(type, type, descriptor.Lifetime));
        return provider => provider.GetRequiredService(type);
    }
}
