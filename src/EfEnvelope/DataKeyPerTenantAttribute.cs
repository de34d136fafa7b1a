namespace EfEnvelope;

/// <summary>
/// Seals the rows of the annotated entity with one data key per tenant; the attribute form of <c>HasDataKeyPerTenant</c>, which overrules it. Stands on the root entity type, or on an
/// unmapped base class that several entities share.
/// </summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class DataKeyPerTenantAttribute(string? property = null) : Attribute
{
    /// <summary>Name of the scalar property that names the row's tenant (string, Guid or integer); null takes the context's tenant (<c>UseTenant</c> in the options).</summary>
    public string? Property { get; } = property;
}
