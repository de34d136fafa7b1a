namespace EfEnvelope;

/// <summary>Names of the key ring's tables and the model's default scope. Not thread safe; used while the model is built.</summary>
public sealed class EnvelopeModelOptions
{
    internal RingTableOptions Tables { get; } = new();

    internal bool AmbientTenantByDefault { get; private set; }

    /// <summary>Puts the ring's tables into a schema. Default: the model's default schema.</summary>
    public EnvelopeModelOptions HasSchema(string? schema)
    {
        Tables.Schema = schema;
        return this;
    }

    /// <summary>Prefix of the ring's table names. Default <c>Envelope</c>: EnvelopeRing, EnvelopeKeys, EnvelopeColumns, EnvelopeJobs, EnvelopeJobUnits, EnvelopeQuarantine.</summary>
    public EnvelopeModelOptions HasTablePrefix(string prefix)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(prefix);
        Tables.Prefix = prefix;
        return this;
    }

    /// <summary>
    /// Leaves the ring's tables out of this context's migrations, because another context over the same database owns them. Default: included.
    /// </summary>
    public EnvelopeModelOptions ExcludeFromMigrations()
    {
        Tables.ExcludeFromMigrations = true;
        return this;
    }

    /// <summary>
    /// Entities without a scope of their own belong to the context's tenant (<c>UseTenant</c> in the options, which implies it) instead of the global data key.
    /// </summary>
    public EnvelopeModelOptions UseAmbientTenantByDefault()
    {
        AmbientTenantByDefault = true;
        return this;
    }
}
