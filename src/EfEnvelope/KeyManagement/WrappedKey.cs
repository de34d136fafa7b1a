namespace EfEnvelope.KeyManagement;

/// <summary>A wrapped key and the root key that wrapped it.</summary>
/// <param name="RootKeyId">The root key's immutable id: the full ARN with AWS KMS (an alias is resolved when a key is wrapped).</param>
/// <param name="Ciphertext">What the service returned; opaque.</param>
/// <param name="KeyMaterialId">The root key's material that wrapped it, where the service tells; else null.</param>
public sealed record WrappedKey(string RootKeyId, byte[] Ciphertext, string? KeyMaterialId = null);
