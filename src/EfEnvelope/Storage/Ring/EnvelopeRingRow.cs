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
