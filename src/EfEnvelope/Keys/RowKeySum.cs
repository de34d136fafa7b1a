namespace EfEnvelope.Keys;

/// <summary>Row keys under one kek in one state, together: there may be millions. A value.</summary>
/// <param name="KekId">The kek that wraps them.</param>
/// <param name="Parent">The kek's scope: what stands above the rows.</param>
/// <param name="State">Their own state, as their rows in the ring say it.</param>
/// <param name="Keys">How many.</param>
/// <param name="CreatedAt">UTC; when the first was made.</param>
/// <param name="ChangedAt">UTC; when the state of one of them changed last, which for keys that never changed is when they were made.</param>
internal sealed record RowKeySum(Guid KekId, string Parent, KeyState State, long Keys, DateTimeOffset CreatedAt, DateTimeOffset ChangedAt)
{
    /// <summary>Their ids, each exclusive or the others: where one came and another went, number and times may be the same, this is not.</summary>
    public UInt128 Ids { get; init; }

    /// <summary>This sum and another of the same keks and state, which counts other keys.</summary>
    public RowKeySum Plus(RowKeySum other) => this with { Ids = Ids ^ other.Ids, Keys = Keys + other.Keys, CreatedAt = Earlier(CreatedAt, other.CreatedAt), ChangedAt = Later(ChangedAt, other.ChangedAt) };

    /// <summary>This sum and another of the same keks and state, which counts some of the same keys.</summary>
    public RowKeySum Or(RowKeySum other) => this with { Keys = Math.Max(Keys, other.Keys), CreatedAt = Earlier(CreatedAt, other.CreatedAt), ChangedAt = Later(ChangedAt, other.ChangedAt) };

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;
}
