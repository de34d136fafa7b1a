namespace EfEnvelope;

/// <summary>A cell that a re-encryption job could not open, or that the database refused to have rewritten: it still names a stale key, and counts in every census until it is rewritten. Immutable.</summary>
/// <param name="Id">The entry, for retrying and releasing it.</param>
/// <param name="JobId">The job that met it last.</param>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="PrimaryKey">The row's primary key: a JSON array of its columns' values, in the key's order.</param>
/// <param name="KeyId">The key that the cell names; null where none can be read.</param>
/// <param name="Reason">The type of the error, or <c>RefusedByDatabase</c> with the database's error code (a constraint, a trigger); never a value.</param>
/// <param name="FirstSeenAt">When a job first met it, UTC.</param>
public sealed record QuarantinedCell(Guid Id, Guid JobId, string Table, string Column, string PrimaryKey, Guid? KeyId, string Reason, DateTimeOffset FirstSeenAt)
{
    /// <summary>When somebody decided not to be reminded of it any more, UTC; null while it is on the list.</summary>
    public DateTimeOffset? ReleasedAt { get; init; }

    /// <summary>Who decided that and why; null while it is on the list.</summary>
    public string? ReleaseReason { get; init; }
}
