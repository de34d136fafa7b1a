namespace EfEnvelope;

/// <summary>A key that rows should leave. Immutable.</summary>
/// <param name="Id">Its id, as envelopes name it.</param>
/// <param name="Scope">Its scope.</param>
/// <param name="Purpose">Whether it seals fields, or wraps the keys of rows.</param>
/// <param name="Version">Its version in the scope.</param>
/// <param name="State">Its state.</param>
/// <param name="Reason">Why.</param>
/// <param name="CreatedAt">UTC.</param>
/// <param name="RootKeyId">The root key that wraps it.</param>
/// <param name="Cells">Cells that name it; of a kek those that name a row key under it.</param>
public sealed record PlannedKey(Guid Id, string Scope, KeyPurpose Purpose, int Version, KeyState State, StaleReason Reason, DateTimeOffset CreatedAt, string? RootKeyId, long Cells);
