namespace EfEnvelope.KeyManagement;

/// <summary>What the key service says of the configured root key.</summary>
/// <param name="RootKeyId">Its immutable id (ARN).</param>
/// <param name="State">The service's own word for its state, such as <c>Enabled</c>, <c>Disabled</c> or <c>PendingDeletion</c>.</param>
/// <param name="IsUsable">Whether it wraps and unwraps now.</param>
/// <param name="DeletionDate">When it will be deleted, where a deletion is pending; else null.</param>
/// <param name="KeyMaterialId">Its current material, where the service tells; else null.</param>
public sealed record RootKeyDescription(string RootKeyId, string State, bool IsUsable, DateTimeOffset? DeletionDate = null, string? KeyMaterialId = null);
