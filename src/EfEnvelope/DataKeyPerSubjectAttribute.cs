namespace EfEnvelope;

/// <summary>
/// Seals the rows of the annotated entity with one data key per data subject (a customer, a patient), so that one subject's data can be erased; the attribute form of
/// <c>HasDataKeyPerSubject</c>, which overrules it. Stands on the root entity type, or on an unmapped base class.
/// </summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class DataKeyPerSubjectAttribute(string name, string property) : Attribute
{
    /// <summary>The subject's name, which several entity types may share: <c>customer</c>. No <c>/</c>, <c>|</c> or <c>@</c>.</summary>
    public string Name { get; } = name;

    /// <summary>Name of the scalar property that identifies the subject (string, Guid or integer).</summary>
    public string Property { get; } = property;
}
