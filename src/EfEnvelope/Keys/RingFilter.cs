namespace EfEnvelope.Keys;

/// <summary>Which rows of a ring are meant; what is not set does not restrict. A value.</summary>
internal readonly record struct RingFilter
{
    /// <summary>Row keys only: those that a kek of the ring wraps.</summary>
    public static RingFilter RowKeys => new() { IsRowKey = true };

    public bool IsRowKey { get; init; }

    /// <summary>Row keys under this kek.</summary>
    public Guid? KekId { get; init; }

    public KeyState? State { get; init; }

    /// <summary>Rows that changed after this epoch.</summary>
    public long? ChangedSince { get; init; }
}
