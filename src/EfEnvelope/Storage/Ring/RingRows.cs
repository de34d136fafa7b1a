using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// The rows are public for one reason: the code of a compiled model (dotnet ef dbcontext optimize) names the types of all entities and looks their public properties up. They are
// no API: the ring is used through EnvelopeKeys, and its rows are authenticated. Hence no documentation of single columns. They can be derived from, and their properties are virtual, because EF's
// proxies (UseLazyLoadingProxies, UseChangeTrackingProxies) refuse a model with any type that is not so.
#pragma warning disable CS1591

/// <summary>The ring's row: exactly one.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeRingRow
{
    /// <summary>Always 1: two rings in one table cannot be.</summary>
    public virtual int Slot { get; set; } = 1;

    public virtual Guid RingId { get; set; }

    public virtual byte[] Salt { get; set; } = [];

    public virtual long Epoch { get; set; }

    /// <summary>The longest sealing lease, in ticks, that any process ever sealed with.</summary>
    public virtual long SealingLeaseTicks { get; set; }
}

/// <summary>A key of the ring. Times are UTC ticks: they sort and compare alike in every database.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeKeyRow
{
    public virtual Guid Id { get; set; }

    public virtual string Scope { get; set; } = "";

    public virtual int Purpose { get; set; }

    public virtual int Version { get; set; }

    public virtual int State { get; set; }

    public virtual Guid? KekId { get; set; }

    public virtual byte[] Wrapped { get; set; } = [];

    public virtual string? RootKeyId { get; set; }

    public virtual string? KeyMaterialId { get; set; }

    public virtual long CreatedAt { get; set; }

    public virtual long? ActivatedAt { get; set; }

    public virtual long? StateChangedAt { get; set; }

    public virtual string? Reason { get; set; }

    public virtual string? ChangedBy { get; set; }

    public virtual long? CompromisedAt { get; set; }

    public virtual long? DestructionDueAt { get; set; }

    public virtual int? FormerState { get; set; }

    public virtual int Revision { get; set; }

    public virtual byte[] Mac { get; set; } = [];

    /// <summary>The ring's epoch at its last change.</summary>
    public virtual long ChangedEpoch { get; set; }
}

/// <summary>A column that holds envelopes, so that a silently changed column id is noticed.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeColumnRow
{
    /// <summary>The database that the column stands in, as <see cref="DataDatabase"/> names it; empty for the ring's own.</summary>
    public virtual string DatabaseName { get; set; } = "";

    public virtual string TableName { get; set; } = "";

    public virtual string ColumnName { get; set; } = "";

    public virtual string ColumnId { get; set; } = "";
}

/// <summary>A re-encryption job.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeJobRow
{
    public virtual Guid Id { get; set; }

    public virtual int State { get; set; }

    public virtual long CreatedAt { get; set; }

    public virtual long? FinishedAt { get; set; }

    /// <summary>What it is to do, as JSON: keys, options; no personal data.</summary>
    public virtual string Plan { get; set; } = "";

    /// <summary>The completion report, as JSON.</summary>
    public virtual string? Report { get; set; }
}

/// <summary>A key range of a table, the unit of work of a job.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class EnvelopeJobUnitRow
{
    public virtual Guid JobId { get; set; }

    public virtual int Ordinal { get; set; }

    public virtual string TableName { get; set; } = "";

    /// <summary>JSON of the first primary key of the range (inclusive); null is open.</summary>
    public virtual string? LowKey { get; set; }

    /// <summary>JSON of the primary key behind the range (exclusive); null is open.</summary>
    public virtual string? HighKey { get; set; }

    public virtual int State { get; set; }

    public virtual string? Owner { get; set; }

    public virtual long LeaseUntil { get; set; }

    public virtual long FencingToken { get; set; }

    /// <summary>JSON of the last primary key that is done.</summary>
    public virtual string? Checkpoint { get; set; }

    public virtual long Rows { get; set; }

    public virtual long Conflicts { get; set; }

    public virtual long Quarantined { get; set; }

    public virtual long UpdatedAt { get; set; }
}

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
