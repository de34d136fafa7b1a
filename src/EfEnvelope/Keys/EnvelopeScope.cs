using EfEnvelope.Keys;

namespace EfEnvelope;

/// <summary>Where a data key belongs: the whole database, a tenant, a subject. A value.</summary>
public readonly record struct EnvelopeScope
{
    private readonly string? _value;

    private EnvelopeScope(string value) => _value = value;

    /// <summary>The scope of entities without a scope of their own.</summary>
    public static EnvelopeScope Global => new(KeyScope.Global);

    /// <summary>The scope's text, such as <c>tenant:42</c>.</summary>
    public string Value => _value ?? KeyScope.Global;

    /// <summary>A tenant's scope.</summary>
    /// <param name="tenant">String, Guid or integer, as the scope property's provider value.</param>
    public static EnvelopeScope Tenant(object tenant) => new(KeyScope.ForTenant(tenant));

    /// <summary>A subject's scope.</summary>
    /// <param name="name">The subject's name, such as <c>customer</c>.</param>
    /// <param name="subject">String, Guid or integer.</param>
    public static EnvelopeScope Subject(string name, object subject) => new(KeyScope.ForSubject(name, subject));

    /// <summary>Reads a scope's text: <c>global</c>, <c>tenant:…</c> or <c>subject:…/…</c>.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="EnvelopeConfigurationException">It is none of them.</exception>
    public static EnvelopeScope Parse(string text)
        => text == KeyScope.Global || (text.StartsWith("tenant:", StringComparison.Ordinal) && text.Length > 7)
            || (text.StartsWith("subject:", StringComparison.Ordinal) && text.IndexOf('/', StringComparison.Ordinal) is > 8 and var at && at < text.Length - 1)
            ? new EnvelopeScope(text)
            : throw new EnvelopeConfigurationException($"'{text}' is no scope. Write global, tenant:VALUE or subject:NAME/VALUE.");

    /// <inheritdoc/>
    public override string ToString() => Value;
}
