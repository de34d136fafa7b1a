using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// Public, and without documentation of single columns, for the reason that EnvelopeRingRow names.
#pragma warning disable CS1591

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
