using System.Security.Cryptography;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Envelopes;

/// <summary>Wraps row keys under a kek of the ring, in the envelope format: encoding 63, row-bound, empty column id, row id = the wrapped key's id (FORMAT.md, Keys).</summary>
internal static class KeyWrapping
{
    public static byte[] Wrap(DataKey kek, DataKey key, string scope)
    {
        Span<byte> material = stackalloc byte[DataKey.Size];
        try
        {
            key.CopyMaterialTo(material);
            return EnvelopeCodec.SealBytes(kek, Binding(key.Id, scope), ValueEncoding.WrappedKey, material);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    /// <exception cref="KeyRingTamperedException">The wrapped key is not genuine, or is another than its id commits to.</exception>
    public static DataKey Unwrap(DataKey kek, ReadOnlySpan<byte> wrapped, KeyPurpose purpose, Guid expectedId, string scope, CipherBackend backend, TimeProvider time)
    {
        byte[]? material = null;
        try
        {
            material = EnvelopeCodec.OpenBytes(kek, Binding(expectedId, scope), ValueEncoding.WrappedKey, wrapped);
            return material.Length == DataKey.Size && DataKey.DeriveId(purpose, material) == expectedId
                ? DataKey.Import(purpose, material, backend, time)
                : throw Tampered(expectedId, null);
        }
        catch (EnvelopeRefusedException refused)
        {
            throw Tampered(expectedId, refused);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    internal static EnvelopeBinding Binding(Guid keyId, string scope) => EnvelopeBinding.Create("", scope, keyId.ToString("N"));

    private static KeyRingTamperedException Tampered(Guid id, Exception? inner)
        => new($"The wrapped key of ring row {id} is not the key that its id commits to: the row was changed or moved. The key is not used. Restore the ring's row from a backup or an export.", inner) { KeyId = id };
}
