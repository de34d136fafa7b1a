using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>One row of the key ring, as read from a committed row or about to be written. Immutable; a change is a new value with the next revision.</summary>
internal sealed record KeyRingEntry
{
    /// <summary>The key id that the key itself derives (FORMAT.md): primary key.</summary>
    public required Guid Id { get; init; }

    /// <summary><c>global</c>, <c>tenant:…</c>, <c>subject:…/…</c> or <c>row:…@…</c>.</summary>
    public required string Scope { get; init; }

    public required KeyPurpose Purpose { get; init; }

    /// <summary>1 and up; unique per scope and purpose, so that racing creators end with one key.</summary>
    public required int Version { get; init; }

    public required KeyState State { get; init; }

    /// <summary>The kek of the ring that wraps this (row) key, or null where the key service wraps it.</summary>
    public Guid? KekId { get; init; }

    /// <summary>The wrapped key; empty once destroyed.</summary>
    public required byte[] Wrapped { get; init; }

    /// <summary>The root key (ARN) where the key service wraps it; else null.</summary>
    public string? RootKeyId { get; init; }

    /// <summary>The root key's material, where the service tells.</summary>
    public string? KeyMaterialId { get; init; }

    /// <summary>UTC.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>UTC; when it first became Active.</summary>
    public DateTimeOffset? ActivatedAt { get; init; }

    /// <summary>UTC; when its state last changed.</summary>
    public DateTimeOffset? StateChangedAt { get; init; }

    /// <summary>Why its state changed last, in the operator's words; no personal data.</summary>
    public string? Reason { get; init; }

    /// <summary>Who changed its state last, as the operator's process says; no secret.</summary>
    public string? ChangedBy { get; init; }

    /// <summary>UTC; when it was first reported compromised. Stays when the key is revoked or destroyed.</summary>
    public DateTimeOffset? CompromisedAt { get; init; }

    /// <summary>UTC; from when on it may be destroyed. Only with <see cref="KeyState.PendingDestruction"/>.</summary>
    public DateTimeOffset? DestructionDueAt { get; init; }

    /// <summary>The state that a cancelled destruction brings back. Only with <see cref="KeyState.PendingDestruction"/>.</summary>
    public KeyState? FormerState { get; init; }

    /// <summary>Compare-and-set guard: 1 at birth, +1 with every change.</summary>
    public required int Revision { get; init; }

    /// <summary>HMAC-SHA-256 under the ring's mac key over everything above (G13); empty only while it is computed.</summary>
    public byte[] Mac { get; init; } = [];
}
