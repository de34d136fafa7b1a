using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Authenticates a ring row's metadata (G13): HMAC-SHA-256 under the ring's mac key over the ring's UUID and every field, each length-prefixed. Somebody who can write to the
/// table but cannot call the key service cannot turn Compromised into Active.
/// </summary>
internal static class KeyMetadataMac
{
    public static KeyRingEntry Sign(DataKey macKey, Guid ringId, KeyRingEntry entry) => entry with { Mac = Compute(macKey, Canonical(ringId, entry)) };

    /// <exception cref="KeyRingTamperedException">The row is not what EfEnvelope wrote.</exception>
    public static void Verify(DataKey macKey, Guid ringId, KeyRingEntry entry)
    {
        if (!IsGenuine(macKey, ringId, entry))
        {
            throw Tampered(entry.Id);
        }
    }

    public static bool IsGenuine(DataKey macKey, Guid ringId, KeyRingEntry entry)
        => CryptographicOperations.FixedTimeEquals(Compute(macKey, Canonical(ringId, entry)), entry.Mac);

    public static KeyRingTamperedException Tampered(Guid id)
        => new($"The ring's row of key {id} was changed by somebody else than EfEnvelope (its metadata does not authenticate). The key is not used. Find out who can write to the ring's table, and restore the row.")
        {
            KeyId = id,
        };

    /// <summary>HMAC-SHA-256 under HKDF-Expand(mac key, "EfEnvelope/v1/mac", 32).</summary>
    public static byte[] Compute(DataKey macKey, ReadOnlySpan<byte> data)
    {
        try
        {
            return macKey.ComputeMac(data);
        }
        catch (ObjectDisposedException dropped)
        {
            throw new KeyUnavailableException("The key ring is being opened anew. Retry.", dropped);
        }
    }

    /// <summary>Every field but the mac, each with a fixed length or length-prefixed.</summary>
    public static byte[] Canonical(Guid ringId, KeyRingEntry entry)
    {
        using var bytes = new MemoryStream(256);
        Span<byte> number = stackalloc byte[8];
        Write(bytes, "EfEnvelope/v1/ring-row"u8);
        Write(bytes, ringId.ToByteArray(bigEndian: true));
        Write(bytes, entry.Id.ToByteArray(bigEndian: true));
        Write(bytes, Encoding.UTF8.GetBytes(entry.Scope));
        foreach (var value in (ReadOnlySpan<long>)[(long)entry.Purpose, entry.Version, (long)entry.State, entry.Revision, Ticks(entry.CreatedAt), Ticks(entry.ActivatedAt), Ticks(entry.StateChangedAt)])
        {
            BinaryPrimitives.WriteInt64BigEndian(number, value);
            bytes.Write(number);
        }

        Write(bytes, entry.KekId?.ToByteArray(bigEndian: true) ?? []);
        Write(bytes, entry.Wrapped);
        Write(bytes, Encoding.UTF8.GetBytes(entry.RootKeyId ?? ""));
        Write(bytes, Encoding.UTF8.GetBytes(entry.KeyMaterialId ?? ""));
        Write(bytes, Encoding.UTF8.GetBytes(entry.Reason ?? ""));
        if (entry.ChangedBy is not null || entry.CompromisedAt is not null || entry.DestructionDueAt is not null || entry.FormerState is not null)
        {
            // All or none: the bytes in front are self-delimiting, so a row with these fields never equals one without them.
            foreach (var value in new[] { Ticks(entry.CompromisedAt), Ticks(entry.DestructionDueAt), entry.FormerState is { } former ? (long)former : -1 })
            {
                BinaryPrimitives.WriteInt64BigEndian(number, value);
                bytes.Write(number);
            }

            Write(bytes, Encoding.UTF8.GetBytes(entry.ChangedBy ?? ""));
        }

        return bytes.ToArray();
    }

    private static long Ticks(DateTimeOffset? time) => time?.UtcTicks ?? -1;

    private static void Write(MemoryStream target, ReadOnlySpan<byte> part)
    {
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, part.Length);
        target.Write(length);
        target.Write(part);
    }
}
