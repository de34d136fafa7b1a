using System.Collections.Concurrent;
using Amazon.KeyManagementService;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
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
        var client = builder.KeyManagementIdentity ?? (builder.Options.AwsKms is null ? null : services?.GetService(typeof(IAmazonKeyManagementService)));
        var time = builder.TimeProvider ?? (TimeProvider?)services?.GetService(typeof(TimeProvider)) ?? TimeProvider.System;
        return Runtimes.GetOrAdd(
            new Identity(builder.Options, client, time),
            identity => new Lazy<EnvelopeRuntime>(() => Create(identity, builder, services))).Value;
    }

    private static EnvelopeRuntime Create(Identity identity, EnvelopeOptionsBuilder builder, IServiceProvider? services)
    {
        var options = identity.Options;
        options.Validate();
        var kms = builder.KeyManagement?.Invoke(services)
            ?? (options.AwsKms is { } aws ? new AwsKeyManagementService(aws, (IAmazonKeyManagementService?)identity.Client)
                : options.LocalKms is { } local ? new LocalKeyManagementService(local)
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

    private sealed record Identity(EnvelopeOptions Options, object? Client, TimeProvider Time);
}
