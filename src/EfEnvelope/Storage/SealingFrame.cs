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

    /// <summary>
    /// Of a row that a save writes no encrypted cell of: EF converts the values of an entity that goes from the row all the same, and compares them. What is converted in it equals nothing, and is a
    /// placeholder that no provider stores (<see cref="PendingValue.NewPlaceholder"/>).
    /// </summary>
    public static SealingFrame Comparing { get; } = new(null!, null);

    public static SealingFrame? Current => _current;

    public bool IsComparing => ReferenceEquals(this, Comparing);

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
