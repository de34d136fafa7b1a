using System.ComponentModel;

namespace EfEnvelope.Storage.Ring;

// Public, and without documentation of single columns, for the reason that EnvelopeRingRow names.
#pragma warning disable CS1591

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
