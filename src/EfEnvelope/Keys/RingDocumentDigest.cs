using System.Buffers.Binary;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>What authenticates a ring's document as a whole: its header, the number of its keys, and the SHA-256 of their rows in order, their own macs included. Not thread safe.</summary>
internal sealed class RingDocumentDigest : IDisposable
{
    private readonly IncrementalHash _rows = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public long Keys { get; private set; }

    public void Add(Guid ringId, KeyRingEntry entry)
    {
        Keys++;
        AddPart(KeyMetadataMac.Canonical(ringId, entry));
        AddPart(entry.Mac);
    }

    /// <summary>The HMAC of what was added so far.</summary>
    public byte[] Compute(DataKey macKey, RingDocument.Header header)
    {
        using var bytes = new MemoryStream(128);
        bytes.Write("EfEnvelope/v1/ring-export\0"u8);
        bytes.Write(header.Ring.ToByteArray(bigEndian: true));
        bytes.Write(header.Salt);
        Span<byte> number = stackalloc byte[8];
        foreach (var value in (ReadOnlySpan<long>)[header.Epoch, header.ExportedAt.UtcTicks, Keys])
        {
            BinaryPrimitives.WriteInt64BigEndian(number, value);
            bytes.Write(number);
        }

        bytes.Write(_rows.GetCurrentHash());
        return KeyMetadataMac.Compute(macKey, bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    public void Dispose() => _rows.Dispose();

    private void AddPart(byte[] part)
    {
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64BigEndian(length, part.Length);
        _rows.AppendData(length);
        _rows.AppendData(part);
    }
}
