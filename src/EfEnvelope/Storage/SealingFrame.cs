using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Storage;

/// <summary>
/// What a converter seals with while a value of one row is rendered: set on the current thread around a synchronous conversion only
/// (<see cref="Enter"/> / dispose), so that it never leaks into another row, command or thread.
/// </summary>
internal sealed class SealingFrame(RingKey key, string? rowId)
{
    [ThreadStatic]
    private static SealingFrame? _current;

    public static SealingFrame? Current => _current;

    public RingKey Key => key;

    /// <summary>The binding of a column of this row.</summary>
    public EnvelopeBinding BindingFor(ColumnDeclaration column)
        => key.Bind(column.Column, !column.RowBound ? null : rowId ?? throw new MissingScopeException(
            $"The row id of row-bound column '{column.ColumnId}' is not known here. Nothing was written.") { ColumnId = column.ColumnId, KeyId = key.Id });

    public Restore Enter()
    {
        var outer = _current;
        _current = this;
        return new Restore(outer);
    }

    internal readonly struct Restore(SealingFrame? outer) : IDisposable
    {
        public void Dispose() => _current = outer;
    }
}
