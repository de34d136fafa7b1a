using System.Data.Common;
using EfEnvelope.Infrastructure;
using EfEnvelope.KeyManagement;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;

namespace EfEnvelope;

/// <summary>
/// Configures envelope encryption of a context. Not thread safe; used while options are built; no member does I/O. Where several key services are named, the last one counts.
/// </summary>
public sealed class EnvelopeOptionsBuilder
{
    internal EnvelopeOptions Options { get; private set; } = new();

    internal Func<DbContext, object?>? AmbientTenant { get; private set; }

    internal Func<DbConnection>? RingConnection { get; private set; }

    internal IKeyManagementService? KeyManagement { get; private set; }

    internal Type? KeyManagementType { get; private set; }

    internal TimeProvider? TimeProvider { get; private set; }

    /// <summary>
    /// AWS KMS holds the root key. An <c>IAmazonKeyManagementService</c> of the application's container is used where there is one, with its own region, endpoint and time-outs;
    /// where the options name a region or an endpoint, a client is made from them instead.
    /// </summary>
    /// <param name="keyId">Alias (<c>alias/banking</c>), key id or ARN.</param>
    /// <param name="configure">Region, endpoint, time-outs, former keys.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">A value is out of its range; raised when the context first reads or writes.</exception>
    public EnvelopeOptionsBuilder UseAwsKms(string keyId, Func<AwsKmsOptions, AwsKmsOptions>? configure = null)
    {
        var options = new AwsKmsOptions { KeyId = keyId };
        return WithService(o => o with { AwsKms = configure?.Invoke(options) ?? options, LocalKms = null, InMemoryKms = null });
    }

    /// <summary>A key file holds the root key: for development. Refused when the host's environment is Production, unless allowed by name.</summary>
    /// <param name="path">The key file; made on first use with mode 0600.</param>
    /// <param name="configure">Environment, and the permission for Production.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder UseLocalKms(string path, Func<LocalKmsOptions, LocalKmsOptions>? configure = null)
    {
        var options = new LocalKmsOptions { Path = path };
        return WithService(o => o with { AwsKms = null, LocalKms = configure?.Invoke(options) ?? options, InMemoryKms = null });
    }

    /// <summary>The root key lives in this process's memory: for tests. Equal names share it.</summary>
    /// <param name="name">Name of the root key.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder UseInMemoryKms(string name = "default") => WithService(o => o with { AwsKms = null, LocalKms = null, InMemoryKms = name });

    /// <summary>A key service of your own. The instance is part of the runtime's identity: give the same one every time.</summary>
    /// <param name="service">Thread-safe key service.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder UseKeyManagementService(IKeyManagementService service)
    {
        ArgumentNullException.ThrowIfNull(service);
        WithService(NoService);
        KeyManagement = service;
        return this;
    }

    /// <summary>
    /// A key service of your own from the application's container. Resolved once for each container, whatever its lifetime, and kept as long as the container: it must be thread safe.
    /// </summary>
    /// <typeparam name="TService">The type that it is registered as.</typeparam>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">The context has no container, or the container no such service; raised when the context first reads or writes.</exception>
    public EnvelopeOptionsBuilder UseKeyManagementService<TService>()
        where TService : class, IKeyManagementService
    {
        WithService(NoService);
        KeyManagementType = typeof(TService);
        return this;
    }

    /// <summary>Entities without a tenant property of their own belong to the context's tenant. Asked for each save and query, so it works with pooled contexts.</summary>
    /// <param name="tenant">The context's tenant (string, Guid or integer); null where none is set, which refuses to write.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentNullException">The function is null.</exception>
    public EnvelopeOptionsBuilder UseTenant(Func<DbContext, object?> tenant)
    {
        ArgumentNullException.ThrowIfNull(tenant);
        AmbientTenant = tenant;
        return this;
    }

    /// <summary>Entities without a tenant property of their own belong to the context's tenant.</summary>
    /// <typeparam name="TContext">The context's type.</typeparam>
    /// <param name="tenant">The context's tenant; null where none is set.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentNullException">The function is null.</exception>
    /// <exception cref="EnvelopeConfigurationException">The options are those of a context of another type; raised when that context first saves or queries.</exception>
    public EnvelopeOptionsBuilder UseTenant<TContext>(Func<TContext, object?> tenant)
        where TContext : DbContext
    {
        ArgumentNullException.ThrowIfNull(tenant);
        return UseTenant(context => context is TContext typed
            ? tenant(typed)
            : throw new EnvelopeConfigurationException($"UseTenant names the tenant of {typeof(TContext).Name}, but these are the options of {context.GetType().Name}. Use UseTenant(context => ...) for contexts of several types."));
    }

    /// <summary>The ring stands in a database of its own, of the same provider, which holds the ring's tables under the same names.</summary>
    /// <param name="connection">Makes a new, closed connection to it; called for each operation.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder UseKeyRing(Func<DbConnection> connection)
    {
        ArgumentNullException.ThrowIfNull(connection);
        RingConnection = connection;
        return this;
    }

    /// <summary>The clock. Default: the container's <see cref="System.TimeProvider"/>, else the system's.</summary>
    /// <param name="timeProvider">The clock.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder UseTimeProvider(TimeProvider timeProvider)
    {
        ArgumentNullException.ThrowIfNull(timeProvider);
        TimeProvider = timeProvider;
        return this;
    }

    /// <summary>
    /// Sets what a configuration section names - <c>AwsKms:KeyId</c>, <c>SealingLease</c> and so on, times as <c>hh:mm:ss</c> - and leaves the rest as it was set before.
    /// A key service in the section replaces one that was set before.
    /// </summary>
    /// <param name="configuration">The section, such as <c>configuration.GetSection("EfEnvelope")</c>.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">The section is empty, holds an unknown key, a value that does not parse or is out of its range, or two key services; names the key.</exception>
    public EnvelopeOptionsBuilder Bind(IConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var bound = EnvelopeConfiguration.Bind(configuration, Options);
        return EnvelopeConfiguration.NamesKeyService(configuration) ? WithService(_ => bound) : With(_ => bound);
    }

    /// <summary>Changes options by a <c>with</c> expression: <c>With(o => o with { SealingLease = TimeSpan.FromSeconds(10) })</c>.</summary>
    /// <param name="change">The change.</param>
    /// <returns>The same builder.</returns>
    public EnvelopeOptionsBuilder With(Func<EnvelopeOptions, EnvelopeOptions> change)
    {
        ArgumentNullException.ThrowIfNull(change);
        Options = change(Options);
        return this;
    }

    /// <summary>The same configuration, to go on from: built options do not change with it.</summary>
    internal EnvelopeOptionsBuilder Copy() => (EnvelopeOptionsBuilder)MemberwiseClone();

    private EnvelopeOptionsBuilder WithService(Func<EnvelopeOptions, EnvelopeOptions> change)
    {
        (KeyManagement, KeyManagementType) = (null, null);
        return With(change);
    }

    private static EnvelopeOptions NoService(EnvelopeOptions options) => options with { AwsKms = null, LocalKms = null, InMemoryKms = null };
}
