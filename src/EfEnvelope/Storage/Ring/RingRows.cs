using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// The rows are public for one reason: the code of a compiled model (dotnet ef dbcontext optimize) names the types of all entities and looks their public properties up. They are
// no API: the ring is used through EnvelopeKeys, and its rows are authenticated. Hence no documentation of single columns.
#pragma warning disable CS1591

/// <summary>The ring's row: exactly one.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeRingRow
{
    /// <summary>Always 1: two rings in one table cannot be.</summary>
    public int Slot { get; set; } = 1;

    public Guid RingId { get; set; }

    public byte[] Salt { get; set; } = [];

    public long Epoch { get; set; }
}

/// <summary>A key of the ring. Times are UTC ticks: they sort and compare alike in every database.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeKeyRow
{
    public Guid Id { get; set; }

    public string Scope { get; set; } = "";

    public int Purpose { get; set; }

    public int Version { get; set; }

    public int State { get; set; }

    public Guid? KekId { get; set; }

    public byte[] Wrapped { get; set; } = [];

    public string? RootKeyId { get; set; }

    public string? KeyMaterialId { get; set; }

    public long CreatedAt { get; set; }

    public long? ActivatedAt { get; set; }

    public long? StateChangedAt { get; set; }

    public string? Reason { get; set; }

    public string? ChangedBy { get; set; }

    public long? CompromisedAt { get; set; }

    public long? DestructionDueAt { get; set; }

    public int? FormerState { get; set; }

    public int Revision { get; set; }

    public byte[] Mac { get; set; } = [];

    /// <summary>The ring's epoch at its last change.</summary>
    public long ChangedEpoch { get; set; }
}

/// <summary>A column that holds envelopes, so that a silently changed column id is noticed.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeColumnRow
{
    public string TableName { get; set; } = "";

    public string ColumnName { get; set; } = "";

    public string ColumnId { get; set; } = "";
}

/// <summary>A re-encryption job.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeJobRow
{
    public Guid Id { get; set; }

    public int State { get; set; }

    public long CreatedAt { get; set; }

    public long? FinishedAt { get; set; }

    /// <summary>What it is to do, as JSON: keys, options; no personal data.</summary>
    public string Plan { get; set; } = "";

    /// <summary>The completion report, as JSON.</summary>
    public string? Report { get; set; }
}

/// <summary>A key range of a table, the unit of work of a job.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeJobUnitRow
{
    public Guid JobId { get; set; }

    public int Ordinal { get; set; }

    public string TableName { get; set; } = "";

    /// <summary>JSON of the first primary key of the range (inclusive); null is open.</summary>
    public string? LowKey { get; set; }

    /// <summary>JSON of the primary key behind the range (exclusive); null is open.</summary>
    public string? HighKey { get; set; }

    public int State { get; set; }

    public string? Owner { get; set; }

    public long LeaseUntil { get; set; }

    public long FencingToken { get; set; }

    /// <summary>JSON of the last primary key that is done.</summary>
    public string? Checkpoint { get; set; }

    public long Rows { get; set; }

    public long Conflicts { get; set; }

    public long Quarantined { get; set; }

    public long UpdatedAt { get; set; }
}

/// <summary>A cell that could not be opened.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EnvelopeQuarantineRow
{
    public Guid Id { get; set; }

    public Guid JobId { get; set; }

    public string TableName { get; set; } = "";

    public string ColumnName { get; set; } = "";

    /// <summary>The row's primary key, as JSON.</summary>
    public string PrimaryKey { get; set; } = "";

    public Guid? KeyId { get; set; }

    public string Reason { get; set; } = "";

    public long FirstSeenAt { get; set; }

    public long? ReleasedAt { get; set; }
}
