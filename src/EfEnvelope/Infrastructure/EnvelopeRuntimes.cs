using System.Collections.Concurrent;
using Amazon.KeyManagementService;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace EfEnvelope.Infrastructure;

/// <summary>The runtimes of this process: one per equal configuration, however often options are built (AddDbContext runs its lambda for every scope).</summary>
internal static class EnvelopeRuntimes
{
    private static readonly ConcurrentDictionary<Identity, Lazy<EnvelopeRuntime>> Runtimes = new();
    private static readonly ConcurrentDictionary<string, InMemoryKeyManagementService> InMemory = new(StringComparer.Ordinal);

    public static EnvelopeRuntime Get(EnvelopeOptionsBuilder builder, IServiceProvider? services)
    {
        var time = builder.TimeProvider ?? (TimeProvider?)ContainerServices.Find(services, typeof(TimeProvider)) ?? TimeProvider.System;
        var identity = new Identity(builder.Options, KeyService(builder, services), time);
        var runtime = Runtimes.GetOrAdd(identity, static (i, s) => new Lazy<EnvelopeRuntime>(() => Create(i, s)), services);
        try
        {
            return runtime.Value;
        }
        catch
        {
            // What is wrong may be mended while the process runs: an environment variable, a file.
            Runtimes.TryRemove(KeyValuePair.Create(identity, runtime));
            throw;
        }
    }

    /// <summary>The application's own key service, or its container's client of AWS KMS; null where the options alone decide.</summary>
    private static object? KeyService(EnvelopeOptionsBuilder builder, IServiceProvider? services)
    {
        if (builder.KeyManagementType is { } type)
        {
            return ContainerServices.Find(services, type) ?? throw new EnvelopeConfigurationException(
                $"UseKeyManagementService<{type.Name}>() finds no such service: {(services is null ? "the context was not made by a container (AddDbContext)" : "register it in the container as a singleton")}, or hand over an instance.");
        }

        return builder.KeyManagement
            ?? (builder.Options.AwsKms is { Region: null, ServiceUrl: null } ? ContainerServices.Find(services, typeof(IAmazonKeyManagementService)) : null);
    }

    private static EnvelopeRuntime Create(Identity identity, IServiceProvider? services)
    {
        var options = identity.Options;
        options.Validate();
        var kms = identity.KeyService as IKeyManagementService
            ?? (options.AwsKms is { } aws ? new AwsKeyManagementService(aws, (IAmazonKeyManagementService?)identity.KeyService)
                : options.LocalKms is { } local ? new LocalKeyManagementService(local.Environment is null ? local with { Environment = (services?.GetService(typeof(IHostEnvironment)) as IHostEnvironment)?.EnvironmentName } : local)
                : options.InMemoryKms is { } memory ? InMemory.GetOrAdd(memory, _ => new InMemoryKeyManagementService())
                : throw new EnvelopeConfigurationException(
                    "UseEnvelopeEncryption names no key service. Choose one: UseAwsKms(\"alias/...\"), UseLocalKms(\"dev-keys.json\") for development, or UseInMemoryKms() in tests."));
        return new EnvelopeRuntime(
            kms,
            new KeyRingOptions
            {
                SealingLease = options.SealingLease,
                KeyRevalidationInterval = options.KeyRevalidationInterval,
                MaximumKeyAge = options.MaximumKeyAge,
                MaxCachedKeys = options.MaxCachedKeys,
                Cipher = options.Cipher,
                RequireFips = options.RequireFips,
            },
            options.ParseEncryptionContext(),
            identity.Time,
            (ILoggerFactory?)services?.GetService(typeof(ILoggerFactory)) ?? NullLoggerFactory.Instance);
    }

    private sealed record Identity(EnvelopeOptions Options, object? KeyService, TimeProvider Time);
}
