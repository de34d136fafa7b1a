namespace EfEnvelope.Keys;

/// <summary>The policy of a ring in this process. A value.</summary>
internal sealed record KeyRingOptions
{
    /// <summary>The longest sealing lease that can be configured.</summary>
    public static readonly TimeSpan MaximumSealingLease = TimeSpan.FromMinutes(10);

    /// <summary>No process seals with a key whose state it confirmed longer ago than this: it bounds revocation everywhere.</summary>
    public TimeSpan SealingLease { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How often the key service is asked again whether a held key may be used.</summary>
    public TimeSpan KeyRevalidationInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long a held key serves while the key service or the ring cannot be reached.</summary>
    public TimeSpan MaximumKeyAge { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Keys held in memory at most, pinned ones apart.</summary>
    public int MaxCachedKeys { get; init; } = 100_000;

    public CipherBackend Cipher { get; init; } = CipherBackend.Automatic;

    public bool RequireFips { get; init; }
}
