using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>What the ring says of a key; no key bytes.</summary>
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
    internal static KeyInfo Of(KeyRingEntry entry)
        => new(entry.Id, entry.Scope, entry.Purpose, entry.Version, entry.State, entry.RootKeyId, entry.CreatedAt, entry.StateChangedAt, entry.Reason);
}
