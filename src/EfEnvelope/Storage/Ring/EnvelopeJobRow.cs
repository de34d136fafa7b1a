using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// Public, and without documentation of single columns, for the reason that EnvelopeRingRow names.
#pragma warning disable CS1591

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
