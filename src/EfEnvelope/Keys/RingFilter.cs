namespace EfEnvelope.Keys;

/// <summary>Which rows of a ring are meant; what is not set does not restrict. A value.</summary>
internal readonly record struct RingFilter
{
    /// <summary>Row keys only: those that a kek of the ring wraps.</summary>
    public static RingFilter RowKeys => new() { IsRowKey = true };

    /// <summary>Row keys under keks; where these are too many, all row keys: the caller looks at each. Null where there is no kek.</summary>
    public static RingFilter? Under(IReadOnlyCollection<Guid> keks) => keks.Count == 0 ? null : keks.Count > MaxKeks ? RowKeys : new RingFilter { KekIds = [.. keks] };

    /// <summary>Keks that a filter names; where there are more, all row keys are read.</summary>
    public const int MaxKeks = 500;

    public bool IsRowKey { get; init; }

    /// <summary>Keys of scopes only: those that the key service wraps.</summary>
    public bool IsScopeKey { get; init; }

    /// <summary>Row keys under these keks, at most <see cref="MaxKeks"/> of them.</summary>
    public IReadOnlyList<Guid>? KekIds { get; init; }

    public KeyState? State { get; init; }

    /// <summary>Rows that changed after this epoch.</summary>
    public long? ChangedSince { get; init; }
}
