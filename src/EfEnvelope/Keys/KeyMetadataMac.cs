using System.Buffers.Binary;
using System.Runtime.CompilerServices;
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
    private const int StackBytes = 1024;
    private const int MaxDescribed = 20;

    private static ReadOnlySpan<byte> Label => "EfEnvelope/v1/ring-row"u8;

    public static KeyRingEntry Sign(DataKey macKey, Guid ringId, KeyRingEntry entry) => entry with { Mac = Compute(macKey, Canonical(ringId, entry)) };

    /// <exception cref="KeyRingTamperedException">The row is not what EfEnvelope wrote.</exception>
    public static void Verify(DataKey macKey, Guid ringId, KeyRingEntry entry)
    {
        if (!IsGenuine(macKey, ringId, entry))
        {
            throw Tampered(entry.Id);
        }
    }

    [SkipLocalsInit]
    public static bool IsGenuine(DataKey macKey, Guid ringId, KeyRingEntry entry)
    {
        var length = Length(entry);
        var bytes = length <= StackBytes ? stackalloc byte[StackBytes] : new byte[length];
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        Compute(macKey, Canonical(ringId, entry, bytes), mac);
        return CryptographicOperations.FixedTimeEquals(mac, entry.Mac);
    }

    public static KeyRingTamperedException Tampered(Guid id)
        => new($"The ring's row of key {id} was changed by somebody else than EfEnvelope (its metadata does not authenticate). The key is not used. Find out who can write to the ring's table, and restore the row.")
        {
            KeyId = id,
        };

    /// <summary>Rows by the ids that they claim: the first of them; each has its audit event.</summary>
    public static string Describe(IReadOnlyCollection<KeyRingEntry> rows)
        => $"the ring's row{(rows.Count == 1 ? "" : "s")} of key{(rows.Count == 1 ? "" : "s")} {string.Join(", ", rows.Take(MaxDescribed).Select(e => e.Id))}{(rows.Count > MaxDescribed ? $" and {rows.Count - MaxDescribed} more (see the audit events)" : "")} {(rows.Count == 1 ? "was" : "were")}";

    /// <summary>HMAC-SHA-256 under HKDF-Expand(mac key, "EfEnvelope/v1/mac", 32).</summary>
    public static byte[] Compute(DataKey macKey, ReadOnlySpan<byte> data)
    {
        var mac = new byte[HMACSHA256.HashSizeInBytes];
        Compute(macKey, data, mac);
        return mac;
    }

    /// <summary>Every field but the mac, each with a fixed length or length-prefixed.</summary>
    public static byte[] Canonical(Guid ringId, KeyRingEntry entry)
    {
        var bytes = new byte[Length(entry)];
        Canonical(ringId, entry, bytes);
        return bytes;
    }

    private static void Compute(DataKey macKey, ReadOnlySpan<byte> data, Span<byte> mac)
    {
        try
        {
            macKey.ComputeMac(data, mac);
        }
        catch (ObjectDisposedException dropped)
        {
            throw new KeyUnavailableException("The key ring is being opened anew. Retry.", dropped);
        }
    }

    private static int Length(KeyRingEntry entry)
        => 4 + Label.Length + (2 * (4 + 16)) + Utf8Length(entry.Scope) + (7 * 8) + 4 + (entry.KekId is null ? 0 : 16) + 4 + (entry.Wrapped?.Length ?? 0)
            + Utf8Length(entry.RootKeyId) + Utf8Length(entry.KeyMaterialId) + Utf8Length(entry.Reason) + (HasLaterFields(entry) ? (3 * 8) + Utf8Length(entry.ChangedBy) : 0);

    private static ReadOnlySpan<byte> Canonical(Guid ringId, KeyRingEntry entry, Span<byte> bytes)
    {
        var rest = bytes;
        Write(ref rest, Label);
        Write(ref rest, ringId);
        Write(ref rest, entry.Id);
        Write(ref rest, entry.Scope);
        foreach (var value in (ReadOnlySpan<long>)[(long)entry.Purpose, entry.Version, (long)entry.State, entry.Revision, Ticks(entry.CreatedAt), Ticks(entry.ActivatedAt), Ticks(entry.StateChangedAt)])
        {
            Write(ref rest, value);
        }

        if (entry.KekId is { } kek)
        {
            Write(ref rest, kek);
        }
        else
        {
            Write(ref rest, []);
        }

        Write(ref rest, entry.Wrapped);
        Write(ref rest, entry.RootKeyId);
        Write(ref rest, entry.KeyMaterialId);
        Write(ref rest, entry.Reason);
        if (HasLaterFields(entry))
        {
            Write(ref rest, Ticks(entry.CompromisedAt));
            Write(ref rest, Ticks(entry.DestructionDueAt));
            Write(ref rest, entry.FormerState is { } former ? (long)former : -1);
            Write(ref rest, entry.ChangedBy);
        }

        return bytes[..^rest.Length];
    }

    /// <summary>All or none are written: the bytes in front are self-delimiting, so a row with these fields never equals one without them.</summary>
    private static bool HasLaterFields(KeyRingEntry entry) => entry.ChangedBy is not null || entry.CompromisedAt is not null || entry.DestructionDueAt is not null || entry.FormerState is not null;

    private static long Ticks(DateTimeOffset? time) => time?.UtcTicks ?? -1;

    private static int Utf8Length(string? text) => 4 + Encoding.UTF8.GetByteCount(text ?? "");

    private static void Write(ref Span<byte> target, long value)
    {
        BinaryPrimitives.WriteInt64BigEndian(target, value);
        target = target[8..];
    }

    private static void Write(ref Span<byte> target, ReadOnlySpan<byte> part)
    {
        BinaryPrimitives.WriteInt32BigEndian(target, part.Length);
        part.CopyTo(target[4..]);
        target = target[(4 + part.Length)..];
    }

    private static void Write(ref Span<byte> target, Guid id)
    {
        BinaryPrimitives.WriteInt32BigEndian(target, 16);
        id.TryWriteBytes(target[4..], bigEndian: true, out _);
        target = target[20..];
    }

    private static void Write(ref Span<byte> target, string? text)
    {
        var length = Encoding.UTF8.GetBytes(text ?? "", target[4..]);
        BinaryPrimitives.WriteInt32BigEndian(target, length);
        target = target[(4 + length)..];
    }
}
