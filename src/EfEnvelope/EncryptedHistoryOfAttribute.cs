namespace EfEnvelope;

/// <summary>
/// Declares that the annotated entity's table keeps former values of another entity's rows, which the database copies without opening them (a trigger, a temporal extension); the attribute form of
/// <c>IsEncryptedHistoryOf</c>, which overrules it. Properties with the names of encrypted ones of that entity are encrypted like them, under the same column ids and data keys.
/// </summary>
/// <remarks>Refused with an <see cref="EnvelopeConfigurationException"/> while the model is built where the source is no entity of the model or a history itself, or no property has the name of an encrypted one of it.</remarks>
/// <param name="source">The entity type whose former values the table keeps.</param>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class EncryptedHistoryOfAttribute(Type source) : Attribute
{
    /// <summary>The entity type whose former values the table keeps.</summary>
    public Type Source { get; } = source;
}
