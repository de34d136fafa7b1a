using System.Buffers.Binary;
using System.Buffers.Text;

namespace EfEnvelope.Envelopes;

/// <summary>
/// Where a value belongs: column, scope and, for a row-bound column, row. Writes the associated data's variable part, LP(column) || LP(scope) || LP(row id), from parts that column and key
/// hold ready, so that binding a value allocates nothing. Immutable.
/// </summary>
internal readonly struct EnvelopeBinding
{
    public const int MaxScopeBytes = 1024;

    private readonly byte[] _scope;
    private readonly byte[]? _row;

    /// <param name="column">Seals, and opens first.</param>
    /// <param name="scope">Of <see cref="EncodeScope"/>.</param>
    /// <param name="row">Of <see cref="EncodeRow"/> for a row-bound column; else null.</param>
    public EnvelopeBinding(BoundColumn column, byte[] scope, byte[]? row = null)
    {
        Column = column;
        _scope = scope;
        _row = row;
    }

    public BoundColumn Column { get; }

    public string ColumnId => Column.Id;

    public bool IsRowBound => _row is not null;

    /// <summary>The same under a former column id, which an envelope that does not open under this one is tried with; null where none is left.</summary>
    public EnvelopeBinding? Former => Column.Former is { } former ? new EnvelopeBinding(former, _scope, _row) : null;

    /// <summary>Bytes that <see cref="WriteTo"/> writes.</summary>
    public int Length => Column.Bytes.Length + _scope.Length + (_row?.Length ?? 2);

    /// <param name="columnId">Seals, and opens first.</param>
    /// <param name="scope">The key's scope.</param>
    /// <param name="rowId">Of row-bound columns.</param>
    /// <exception cref="EnvelopeConfigurationException">An empty or overlong column id, scope or row id, or text that is not valid Unicode.</exception>
    public static EnvelopeBinding Create(string columnId, string scope, string? rowId = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(columnId);
        var column = BoundColumn.Create(columnId, []);
        return new(column, EncodeScope(scope, column), EncodeRow(column, rowId));
    }

    /// <summary>The binding of a key that is wrapped by a key of the ring: no column, the wrapped key's scope and id.</summary>
    public static EnvelopeBinding ForWrappedKey(string scope, Guid keyId)
    {
        var row = new byte[2 + 32];
        BinaryPrimitives.WriteUInt16BigEndian(row, 32);
        Utf8Formatter.TryFormat(keyId, row.AsSpan(2), out _, 'N');
        return new(BoundColumn.None, EncodeScope(scope, BoundColumn.None, keyId), row);
    }

    /// <param name="scope">The key's scope.</param>
    /// <param name="column">The column whose value is bound, for the error.</param>
    /// <param name="keyId">The key, for the error.</param>
    /// <exception cref="EnvelopeConfigurationException">It is empty or too long, or no valid Unicode.</exception>
    public static byte[] EncodeScope(string scope, BoundColumn column, Guid? keyId = null)
    {
        ArgumentNullException.ThrowIfNull(scope);
        var bytes = BoundColumn.Prefixed(scope, "scope", column.Id, keyId);
        return bytes.Length - 2 is > 0 and <= MaxScopeBytes
            ? bytes
            : throw BoundColumn.Error($"a scope has 1 to {MaxScopeBytes} bytes of UTF-8; this one has {bytes.Length - 2}. Choose a shorter tenant or subject.", column.Id, keyId);
    }

    /// <summary>Null for null: the column is not bound to its row.</summary>
    public static byte[]? EncodeRow(BoundColumn column, string? rowId) => rowId switch
    {
        null => null,
        "" => throw new EnvelopeConfigurationException($"Column {column.Id} is bound to its row, but the row's primary key is empty.") { ColumnId = column.Id },
        _ => BoundColumn.Prefixed(rowId, "row id", column.Id),
    };

    public void WriteTo(Span<byte> destination)
    {
        Column.Bytes.CopyTo(destination);
        destination = destination[Column.Bytes.Length..];
        _scope.CopyTo(destination);
        destination = destination[_scope.Length..];
        if (_row is null)
        {
            BinaryPrimitives.WriteUInt16BigEndian(destination, 0);
        }
        else
        {
            _row.CopyTo(destination);
        }
    }
}
