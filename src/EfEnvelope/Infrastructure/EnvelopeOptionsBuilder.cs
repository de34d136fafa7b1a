using System.Data.Common;
using EfEnvelope.KeyManagement;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;

namespace EfEnvelope;

/// <summary>Configures envelope encryption of a context. Not thread safe; used while options are built.</summary>
public sealed class EnvelopeOptionsBuilder
{
    internal EnvelopeOptions Options { get; private set; } = new();

    internal Func<DbContext, object?>? AmbientTenant { get; private set; }

    internal Func<DbConnection>? RingConnection { get; private set; }

    internal Func<IServiceProvider?, IKeyManagementService>? KeyManagement { get; private set; }

    internal object? KeyManagementIdentity { get; private set; }

    internal TimeProvider? TimeProvider { get; private set; }

    /// <summary>AWS KMS holds the root key. An <c>IAmazonKeyManagementService</c> of the application's container is used where there is one.</summary>
    /// <param name="keyId">Alias (<c>alias/banking</c>), key id or ARN.</param>
    /// <param name="configure">Region, endpoint, time-outs, former keys.</param>
    public EnvelopeOptionsBuilder UseAwsKms(string keyId, Func<AwsKmsOptions, AwsKmsOptions>? configure = null)
    {
        var options = new AwsKmsOptions { KeyId = keyId };
        return With(o => o with { AwsKms = configure?.Invoke(options) ?? options, LocalKms = null, InMemoryKms = null });
    }

    /// <summary>A key file holds the root key: for development. Refused when the host's environment is Production, unless allowed by name.</summary>
    /// <param name="path">The key file; made on first use with mode 0600.</param>
    /// <param name="configure">Environment, and the permission for Production.</param>
    public EnvelopeOptionsBuilder UseLocalKms(string path, Func<LocalKmsOptions, LocalKmsOptions>? configure = null)
    {
        var options = new LocalKmsOptions { Path = path };
        return With(o => o with { AwsKms = null, LocalKms = configure?.Invoke(options) ?? options, InMemoryKms = null });
    }

    /// <summary>The root key lives in this process's memory: for tests. Equal names share it.</summary>
    /// <param name="name">Name of the root key.</param>
    public EnvelopeOptionsBuilder UseInMemoryKms(string name = "default") => With(o => o with { AwsKms = null, LocalKms = null, InMemoryKms = name });

    /// <summary>A key service of your own. The instance is part of the runtime's identity: give the same one every time.</summary>
    /// <param name="service">Thread-safe key service.</param>
    public EnvelopeOptionsBuilder UseKeyManagementService(IKeyManagementService service)
    {
        ArgumentNullException.ThrowIfNull(service);
        KeyManagement = _ => service;
        KeyManagementIdentity = service;
        return this;
    }

    /// <summary>Entities without a tenant property of their own belong to the context's tenant. Asked for each save and query, so it works with pooled contexts.</summary>
    /// <param name="tenant">The context's tenant (string, Guid or integer); null where none is set, which refuses to write.</param>
    public EnvelopeOptionsBuilder UseTenant(Func<DbContext, object?> tenant)
    {
        ArgumentNullException.ThrowIfNull(tenant);
        AmbientTenant = tenant;
        return this;
    }

    /// <summary>Entities without a tenant property of their own belong to the context's tenant.</summary>
    /// <typeparam name="TContext">The context's type.</typeparam>
    /// <param name="tenant">The context's tenant; null where none is set.</param>
    public EnvelopeOptionsBuilder UseTenant<TContext>(Func<TContext, object?> tenant)
        where TContext : DbContext
    {
        ArgumentNullException.ThrowIfNull(tenant);
        return UseTenant(context => tenant((TContext)context));
    }

    /// <summary>The ring stands in a database of its own, of the same provider, which holds the ring's tables under the same names.</summary>
    /// <param name="connection">Makes a new, closed connection to it; called for each operation.</param>
    public EnvelopeOptionsBuilder UseKeyRing(Func<DbConnection> connection)
    {
        ArgumentNullException.ThrowIfNull(connection);
        RingConnection = connection;
        return this;
    }

    /// <summary>The clock. Default: the container's <see cref="System.TimeProvider"/>, else the system's.</summary>
    /// <param name="timeProvider">The clock.</param>
    public EnvelopeOptionsBuilder UseTimeProvider(TimeProvider timeProvider)
    {
        TimeProvider = timeProvider;
        return this;
    }

    /// <summary>Binds <see cref="EnvelopeOptions"/> from configuration: <c>AwsKms:KeyId</c>, <c>SealingLease</c> and so on.</summary>
    /// <param name="configuration">The section.</param>
    public EnvelopeOptionsBuilder Bind(IConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return With(_ => configuration.Get<EnvelopeOptions>() ?? throw new EnvelopeConfigurationException("The configuration section of EfEnvelope is empty."));
    }

    /// <summary>Changes options by a <c>with</c> expression: <c>With(o => o with { SealingLease = TimeSpan.FromSeconds(10) })</c>.</summary>
    /// <param name="change">The change.</param>
    public EnvelopeOptionsBuilder With(Func<EnvelopeOptions, EnvelopeOptions> change)
    {
        ArgumentNullException.ThrowIfNull(change);
        Options = change(Options);
        return this;
    }
}
