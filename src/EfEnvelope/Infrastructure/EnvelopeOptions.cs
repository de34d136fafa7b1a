using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>
/// The configuration of EfEnvelope in a process. A value: equal options share one runtime - one cache, one key service - however often they are built. Bind it from
/// configuration with <c>Bind</c>, or set it with the builder of <c>UseEnvelopeEncryption</c>.
/// </summary>
public sealed record EnvelopeOptions
{
    /// <summary>AWS KMS, where it holds the root key.</summary>
    public AwsKmsOptions? AwsKms { get; init; }

    /// <summary>The development provider's key file.</summary>
    public LocalKmsOptions? LocalKms { get; init; }

    /// <summary>Name of a root key in this process's memory, for tests.</summary>
    public string? InMemoryKms { get; init; }

    /// <summary>
    /// The sealing lease: no process seals with a key whose state it confirmed longer ago. Bounds how long a revoked key seals anywhere. 1 s to 10 min, default 60 s.
    /// </summary>
    public TimeSpan SealingLease { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How often the key service is asked whether a held key may still be used; at <see cref="MaximumKeyAge"/> where that is less. 1 min to 24 h, default 1 h.</summary>
    public TimeSpan KeyRevalidationInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long a held key opens and, as far as the ring can be reached, seals values while the key service cannot be; how long it opens values while the ring cannot be. 1 min to 7 days, default 24 h.</summary>
    public TimeSpan MaximumKeyAge { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Keys of one ring held in memory at most, keys in use apart. 16 to 10,000,000, default 100,000 (about 1 KiB each).</summary>
    public int MaxCachedKeys { get; init; } = 100_000;

    /// <summary>The AES-256-GCM implementation. Default: the faster one that is available.</summary>
    public CipherBackend Cipher { get; init; }

    /// <summary>Uses only the platform's module (the BCL's). Default false.</summary>
    public bool RequireFips { get; init; }

    /// <summary>Fixed pairs added to every KMS encryption context, as <c>name=value</c> separated by commas, for IAM conditions. No personal data. Default: none.</summary>
    public string EncryptionContext { get; init; } = "";

    private const string OwnPrefix = "EnvelopeOptions.";

    internal IReadOnlyDictionary<string, string> ParseEncryptionContext(string prefix = OwnPrefix)
    {
        var pairs = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pair in EncryptionContext.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var at = pair.IndexOf('=', StringComparison.Ordinal);
            if (at <= 0 || pair.StartsWith("efenvelope:", StringComparison.Ordinal))
            {
                throw new EnvelopeConfigurationException($"{prefix}EncryptionContext must be name=value pairs separated by commas; names that begin with 'efenvelope:' are EfEnvelope's own.");
            }

            pairs[pair[..at]] = pair[(at + 1)..];
        }

        return pairs;
    }

    /// <param name="prefix">What stands before an option's name where the user wrote it: the section's path, or the type.</param>
    internal void Validate(string prefix = OwnPrefix)
    {
        Check(SealingLease, TimeSpan.FromSeconds(1), KeyRingOptions.MaximumSealingLease, prefix + nameof(SealingLease));
        Check(KeyRevalidationInterval, TimeSpan.FromMinutes(1), TimeSpan.FromHours(24), prefix + nameof(KeyRevalidationInterval));
        Check(MaximumKeyAge, TimeSpan.FromMinutes(1), TimeSpan.FromDays(7), prefix + nameof(MaximumKeyAge));
        if (MaxCachedKeys is < 16 or > 10_000_000)
        {
            throw new EnvelopeConfigurationException($"{prefix}MaxCachedKeys is {MaxCachedKeys}; it must be 16 to 10000000.");
        }

        if (!Enum.IsDefined(Cipher))
        {
            throw new EnvelopeConfigurationException($"{prefix}Cipher is {Cipher}; it must be {string.Join(", ", Enum.GetNames<CipherBackend>())}.");
        }

        if (RequireFips && Cipher == CipherBackend.Libsodium)
        {
            throw new EnvelopeConfigurationException($"{prefix}RequireFips excludes {prefix}Cipher Libsodium, which is no validated module. Use Bcl, or leave Cipher out.");
        }

        AwsKms?.Validate(prefix);
        LocalKms?.Validate(prefix);
        ParseEncryptionContext(prefix);
    }

    private static void Check(TimeSpan value, TimeSpan min, TimeSpan max, string name)
    {
        if (value < min || value > max)
        {
            throw new EnvelopeConfigurationException($"{name} is {value}; it must be {min} to {max} (days.hours:minutes:seconds).");
        }
    }
}
