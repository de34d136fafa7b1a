namespace EfEnvelope;

/// <summary>
/// Gives each row of the annotated entity a data key of its own, wrapped by its tenant's or subject's key (or the global one); the attribute form of <c>HasDataKeyPerRow</c>.
/// Stands on the root entity type, or on an unmapped base class.
/// </summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class DataKeyPerRowAttribute : Attribute
{
    /// <summary>Name of the Guid property that names the row's lineage of keys. Default <c>EnvelopeRowId</c>, a shadow property.</summary>
    public string RowIdProperty { get; set; } = "EnvelopeRowId";
}
