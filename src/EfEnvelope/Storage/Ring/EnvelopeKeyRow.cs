using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// Public, and without documentation of single columns, for the reason that EnvelopeRingRow names.
#pragma warning disable CS1591

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
