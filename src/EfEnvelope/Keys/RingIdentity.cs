namespace EfEnvelope.Keys;

/// <summary>The ring's own row: its UUID stands in every KMS encryption context, its salt keeps scope names out of the service's log.</summary>
/// <param name="Id">Random UUID, for ever.</param>
/// <param name="Salt">16 random bytes.</param>
/// <param name="Epoch">Rises by one with every change of a key that exists (and every new version), in commit order: "nothing changed" is one comparison, without clocks.</param>
internal sealed record RingIdentity(Guid Id, byte[] Salt, long Epoch)
{
    /// <summary>The longest sealing lease that any process of the ring has sealed with: what a cut-off has to wait for, whatever the waiting process's own is.</summary>
    public TimeSpan SealingLease { get; init; }

    /// <summary>Whether a standby said so: what it says may be old, and is true of no key that seals.</summary>
    public bool IsStandby { get; init; }
}
