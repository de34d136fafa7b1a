using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>A key that is in question. Immutable.</summary>
/// <param name="Id">Its id, as envelopes name it.</param>
/// <param name="Scope">Its scope.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="Version">Its version in the scope.</param>
/// <param name="State">Its state when the report was made.</param>
/// <param name="RootKeyId">The root key that wraps it; null for row keys.</param>
/// <param name="CreatedAt">UTC.</param>
/// <param name="ActivatedAt">UTC; when it began to seal.</param>
/// <param name="CompromisedAt">UTC; when it was first reported compromised.</param>
public sealed record ExposedKey(
    Guid Id, string Scope, KeyPurpose Purpose, int Version, KeyState State, string? RootKeyId, DateTimeOffset CreatedAt, DateTimeOffset? ActivatedAt, DateTimeOffset? CompromisedAt)
{
    internal static ExposedKey Of(KeyRingEntry entry)
        => new(entry.Id, entry.Scope, entry.Purpose, entry.Version, entry.State, entry.RootKeyId, entry.CreatedAt, entry.ActivatedAt, entry.CompromisedAt);
}
