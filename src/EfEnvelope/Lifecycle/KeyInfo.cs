using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>What the ring says of a key; no key bytes. Immutable.</summary>
/// <param name="Id">The key id that envelopes name.</param>
/// <param name="Scope"><c>global</c>, <c>tenant:…</c>, <c>subject:…/…</c> or <c>row:…@…</c>.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="Version">1 and up in its scope.</param>
/// <param name="State">Its state.</param>
/// <param name="RootKeyId">The root key that wraps it (ARN); null for keys that the ring wraps.</param>
/// <param name="CreatedAt">UTC.</param>
/// <param name="StateChangedAt">UTC.</param>
/// <param name="Reason">Why its state changed last.</param>
public sealed record KeyInfo(Guid Id, string Scope, KeyPurpose Purpose, int Version, KeyState State, string? RootKeyId, DateTimeOffset CreatedAt, DateTimeOffset? StateChangedAt, string? Reason)
{
    /// <summary>UTC; when it began to seal.</summary>
    public DateTimeOffset? ActivatedAt { get; init; }

    /// <summary>UTC; when it was first reported compromised. Stays when it is revoked or destroyed.</summary>
    public DateTimeOffset? CompromisedAt { get; init; }

    /// <summary>UTC; from when on it may be destroyed, while it is scheduled for destruction.</summary>
    public DateTimeOffset? DestructionDueAt { get; init; }

    /// <summary>Who changed its state last, where that was told.</summary>
    public string? ChangedBy { get; init; }

    /// <summary>The kek of the ring that wraps it; null for keys that the key service wraps.</summary>
    public Guid? KekId { get; init; }

    internal static KeyInfo Of(KeyRingEntry entry)
        => new(entry.Id, entry.Scope, entry.Purpose, entry.Version, entry.State, entry.RootKeyId, entry.CreatedAt, entry.StateChangedAt, entry.Reason)
        {
            ActivatedAt = entry.ActivatedAt,
            CompromisedAt = entry.CompromisedAt,
            DestructionDueAt = entry.DestructionDueAt,
            ChangedBy = entry.ChangedBy,
            KekId = entry.KekId,
        };
}
