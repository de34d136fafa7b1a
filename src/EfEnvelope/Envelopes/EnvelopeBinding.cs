using System.Buffers.Binary;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>What an envelope is bound to besides its key: the tail of the associated data, LP(column id) || LP(scope) || LP(row id). Immutable.</summary>
internal sealed class EnvelopeBinding
{
    private readonly byte[] _tail;

    private EnvelopeBinding(string columnId, string scope, string? rowId)
    {
        ColumnId = columnId;
        Scope = scope;
        RowId = rowId;
        _tail = [.. LengthPrefixed(columnId), .. LengthPrefixed(scope), .. LengthPrefixed(rowId ?? "")];
    }

    public string ColumnId { get; }

    public string Scope { get; }

    /// <summary>Null unless the column is row-bound.</summary>
    public string? RowId { get; }

    public bool IsRowBound => RowId is not null;

    internal ReadOnlySpan<byte> Tail => _tail;

    public static EnvelopeBinding Create(string columnId, string scope, string? rowId = null)
        => rowId is { Length: 0 }
            ? throw new EnvelopeRefusedException($"Column '{columnId}' is row-bound, but its row id is empty.") { ColumnId = columnId }
            : new EnvelopeBinding(columnId, scope, rowId);

    private static byte[] LengthPrefixed(string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        if (length > ushort.MaxValue)
        {
            throw new EnvelopeConfigurationException("A column id, scope or row id is longer than 65,535 bytes of UTF-8.");
        }

        var bytes = new byte[2 + length];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)length);
        Encoding.UTF8.GetBytes(text, bytes.AsSpan(2));
        return bytes;
    }
}
