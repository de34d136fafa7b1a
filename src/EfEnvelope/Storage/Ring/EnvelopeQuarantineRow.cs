using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// Public, and without documentation of single columns, for the reason that EnvelopeRingRow names.
#pragma warning disable CS1591

/// <summary>A cell that could not be opened.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeQuarantineRow
{
    public virtual Guid Id { get; set; }

    public virtual Guid JobId { get; set; }

    public virtual string TableName { get; set; } = "";

    public virtual string ColumnName { get; set; } = "";

    /// <summary>The row's primary key, as JSON.</summary>
    public virtual string PrimaryKey { get; set; } = "";

    public virtual Guid? KeyId { get; set; }

    public virtual string Reason { get; set; } = "";

    public virtual long FirstSeenAt { get; set; }

    public virtual long? ReleasedAt { get; set; }

    /// <summary>Who decided and why; no personal data.</summary>
    public virtual string? ReleaseReason { get; set; }

    /// <summary>SHA-256 of table, column and primary key, so that a cell is listed once and is found by an index, however long its key. Null in entries that a former version made, until a job comes by.</summary>
    public virtual byte[]? Digest { get; set; }

    /// <summary>The run of a job that met it last.</summary>
    public virtual Guid? RunId { get; set; }
}
