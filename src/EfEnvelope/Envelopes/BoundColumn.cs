using System.Buffers.Binary;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>A column's id as the associated data holds it, and its former ones. Immutable.</summary>
internal sealed class BoundColumn
{
    public const int MaxIdBytes = 255;

    private static readonly UTF8Encoding StrictUtf8 = new(false, true);

    /// <summary>Of wrapped keys, which stand in no column.</summary>
    public static readonly BoundColumn None = new("", null);

    private readonly byte[] _bytes;

    private BoundColumn(string id, BoundColumn? former)
    {
        Id = id;
        Former = former;
        _bytes = Prefixed(id, "column id", id);
        if (_bytes.Length > 2 + MaxIdBytes)
        {
            throw new EnvelopeConfigurationException($"Column id '{id}' is longer than {MaxIdBytes} bytes of UTF-8: declare a shorter one.") { ColumnId = id };
        }
    }

    public string Id { get; }

    /// <summary>The next older id, under which values open too; null where none is left.</summary>
    public BoundColumn? Former { get; }

    /// <summary>Length-prefixed.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <param name="id">Seals, and opens first.</param>
    /// <param name="formerIds">Open too, in this order; never seal.</param>
    public static BoundColumn Create(string id, IReadOnlyList<string> formerIds)
    {
        BoundColumn? former = null;
        for (var i = formerIds.Count - 1; i >= 0; i--)
        {
            former = new BoundColumn(formerIds[i], former);
        }

        return new BoundColumn(id, former);
    }

    /// <summary>LP(text): two bytes of length, big-endian, and the text in UTF-8.</summary>
    /// <param name="text">The text.</param>
    /// <param name="what">What it is, for the error.</param>
    /// <param name="columnId">The column whose value is bound, for the error; empty for none.</param>
    /// <param name="keyId">The key, for the error.</param>
    public static byte[] Prefixed(string text, string what, string columnId, Guid? keyId = null)
    {
        try
        {
            var length = StrictUtf8.GetByteCount(text);
            if (length > ushort.MaxValue)
            {
                throw Error($"a {what} is longer than 65,535 bytes of UTF-8.", columnId, keyId);
            }

            var bytes = new byte[2 + length];
            BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)length);
            StrictUtf8.GetBytes(text, bytes.AsSpan(2));
            return bytes;
        }
        catch (EncoderFallbackException)
        {
            throw Error($"a {what} holds a lone surrogate: it is not valid Unicode.", columnId, keyId);
        }
    }

    /// <summary>What cannot be bound, never with the text itself.</summary>
    public static EnvelopeConfigurationException Error(string message, string columnId, Guid? keyId)
        => new(columnId.Length > 0 ? $"Column '{columnId}': {message}" : keyId is { } key ? $"Key {key}: {message}" : $"Not bound: {message}")
        {
            ColumnId = columnId.Length > 0 ? columnId : null,
            KeyId = keyId,
        };
}
