namespace EfEnvelope.KeyManagement;

/// <summary>A new data key in both forms. <see cref="Plaintext"/> is the caller's to zero.</summary>
/// <param name="Plaintext">32 uniformly random bytes.</param>
/// <param name="Wrapped">The same key, wrapped.</param>
public sealed record GeneratedKey(byte[] Plaintext, WrappedKey Wrapped);
