namespace EfEnvelope;

/// <summary>Says to <see cref="EnvelopeProtector"/> which row a value stands in, for columns that are bound to their row. Immutable.</summary>
public sealed class EnvelopeRow
{
    /// <summary>The row's <c>EnvelopeRowId</c>, where each row has keys of its own (<c>HasDataKeyPerRow()</c>); null, the default, elsewhere. The row, with its key in the ring, is there already.</summary>
    public Guid? RowId { get; init; }

    /// <summary>The values of the primary key of the entity that declares the property, in the model's order, for row-bound columns (<c>RowBound</c>); empty, the default, elsewhere.</summary>
    public IReadOnlyList<object> PrimaryKey { get; init; } = [];
}
