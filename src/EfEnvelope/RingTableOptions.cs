namespace EfEnvelope;

/// <summary>Where the key ring's tables stand.</summary>
internal sealed class RingTableOptions
{
    public string? Schema { get; set; }

    public string Prefix { get; set; } = "Envelope";

    public bool ExcludeFromMigrations { get; set; }
}
