using System.Buffers.Binary;
using System.Text;

namespace EfEnvelope.Envelopes;

/// <summary>Where a value belongs: column, scope and, for a row-bound column, row. Immutable; holds the associated data's variable part, LP(column) || LP(scope) || LP(row id).</summary>
internal sealed class EnvelopeBinding
{
    public const int MaxColumnIdBytes = 255;
    public const int MaxScopeBytes = 1024;
    private static readonly UTF8Encoding s_utf8 = new(false, true);
    private readonly byte[] _bytes;

    private EnvelopeBinding(string columnId, string scope, string? rowId, EnvelopeBinding? former, IReadOnlyList<string> formerColumnIds)
    {
        Former = former;
        FormerColumnIds = formerColumnIds;
        ColumnId = columnId;
        Scope = scope;
        RowId = rowId;
        var column = Utf8(columnId, "column id");
        var scopeBytes = Utf8(scope, "scope");
        var row = Utf8(rowId ?? "", "row id");
        _bytes = new byte[6 + column.Length + scopeBytes.Length + row.Length];
        var position = Put(column, 0);
        position = Put(scopeBytes, position);
        Put(row, position);
        if (column.Length > MaxColumnIdBytes)
        {
            throw new EnvelopeConfigurationException($"Column id '{columnId}' is longer than {MaxColumnIdBytes} bytes of UTF-8: declare a shorter one.") { ColumnId = columnId };
        }

        if (scopeBytes.Length is 0 or > MaxScopeBytes)
        {
            throw new EnvelopeConfigurationException($"A scope has 1 to {MaxScopeBytes} bytes of UTF-8; this one has {scopeBytes.Length}.") { ColumnId = columnId };
        }
    }

    public string ColumnId { get; }

    public string Scope { get; }

    /// <summary>Null unless row-bound.</summary>
    public string? RowId { get; }

    public bool IsRowBound => RowId is not null;

    /// <summary>The same under a former column id, which an envelope that does not open under this one is tried with; null where none is left.</summary>
    public EnvelopeBinding? Former { get; }

    /// <summary>The former column ids that it was made with.</summary>
    public IReadOnlyList<string> FormerColumnIds { get; }

    /// <summary>The bytes that follow the header in the associated data.</summary>
    internal ReadOnlySpan<byte> Bytes => _bytes;

    /// <param name="columnId">Seals, and opens first.</param>
    /// <param name="scope">The key's scope.</param>
    /// <param name="rowId">Of row-bound columns.</param>
    /// <param name="formerColumnIds">Open too, in this order; never seal.</param>
    /// <exception cref="EnvelopeConfigurationException">An empty or overlong column id, scope or row id, or text that is not valid Unicode.</exception>
    public static EnvelopeBinding Create(string columnId, string scope, string? rowId = null, IReadOnlyList<string>? formerColumnIds = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(columnId);
        ArgumentNullException.ThrowIfNull(scope);
        if (rowId is { Length: 0 })
        {
            throw new EnvelopeConfigurationException($"Column {columnId} is bound to its row, but the row's primary key is empty.") { ColumnId = columnId };
        }

        var ids = formerColumnIds ?? [];
        EnvelopeBinding? former = null;
        for (var i = ids.Count - 1; i >= 0; i--)
        {
            former = new EnvelopeBinding(ids[i], scope, rowId, former, []);
        }

        return new EnvelopeBinding(columnId, scope, rowId, former, ids);
    }

    /// <summary>The binding of a key that is wrapped by a key of the ring: no column, the wrapped key's scope and id.</summary>
    internal static EnvelopeBinding ForWrappedKey(string scope, Guid keyId) => new("", scope, keyId.ToString("N"), null, []);

    private int Put(byte[] part, int position)
    {
        BinaryPrimitives.WriteUInt16BigEndian(_bytes.AsSpan(position), (ushort)part.Length);
        part.CopyTo(_bytes, position + 2);
        return position + 2 + part.Length;
    }

    private static byte[] Utf8(string text, string what)
    {
        byte[] bytes;
        try
        {
            bytes = s_utf8.GetBytes(text);
        }
        catch (EncoderFallbackException)
        {
            throw new EnvelopeConfigurationException($"A {what} holds a lone surrogate: it is not valid Unicode.");
        }

        return bytes.Length <= ushort.MaxValue ? bytes : throw new EnvelopeConfigurationException($"A {what} is longer than 65,535 bytes of UTF-8.");
    }
}
