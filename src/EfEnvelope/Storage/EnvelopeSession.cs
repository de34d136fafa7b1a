using System.Data.Common;
using System.Transactions;
using EfEnvelope.Keys;
using EfEnvelope.Scoping;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Storage;

/// <summary>
/// What one DbContext instance (or one lease of a pooled one) knows: its ring, its ambient tenant, and the keys that its open transaction made. Scoped with
/// the context; not thread safe, like the context.
/// </summary>
internal sealed class EnvelopeSession(ICurrentDbContext currentContext, IDbContextOptions options, IRelationalConnection relationalConnection, IEnvelopeRuntimeSource source) : IResettableService, IDisposable
{
    private EnvelopeRuntime? _runtime;
    private KeyRing? _ring;
    private TransientKeys? _transientKeys;
    private DbConnection? _ringConnection;
    private string? _ringConnectionString;

    public DbContext Context => currentContext.Context;

    public EnvelopeRuntime Runtime => _runtime ??= OpenRuntime();

    /// <summary>The ring of the database that the context is connected to now.</summary>
    public KeyRing Ring
    {
        get
        {
            var connection = relationalConnection.DbConnection;
            var text = connection.ConnectionString;
            if (_ring is { } known && ReferenceEquals(connection, _ringConnection) && ReferenceEquals(text, _ringConnectionString))
            {
                return known;
            }

            var ring = RingStoreFactory.GetRing(Context, Runtime, source.RingConnection);
            (_ring, _ringConnection, _ringConnectionString) = HasSeparateRing || RingStoreFactory.IsInMemory(connection) ? (null, null, null) : (ring, connection, text);
            return ring;
        }
    }

    /// <summary>What the save that is under way seals with; null outside of a save.</summary>
    public SealingLease? Save { get; set; }

    /// <summary>Opens the ring's rows; see <see cref="IKeyRingStore"/>. Cheap: connects on first use.</summary>
    public IKeyRingStore OpenStore() => RingStoreFactory.For(Context, source.RingConnection);

    /// <summary>The ring's rows as the context's own connection sees them, those of its open transaction too. Not for a ring in a database of its own.</summary>
    public IKeyRingStore OpenOwnStore() => RingStoreFactory.ForOwnConnection(Context);

    /// <summary>Keys made inside the context's open transaction: they leave for the shared cache only when they are read again from committed rows.</summary>
    public TransientKeys TransientKeys => _transientKeys ??= new TransientKeys(FindTransaction);

    /// <summary>The scope of the context's tenant; null when none is configured or set (the default of its type is no tenant).</summary>
    public string? AmbientScope
        => source.AmbientTenant?.Invoke(Context) is { } tenant && !RowScope.IsDefault(tenant) ? KeyScope.ForTenant(tenant) : null;

    public bool HasAmbientTenant => source.AmbientTenant is not null;

    /// <summary>Whether the ring stands in a database of its own.</summary>
    public bool HasSeparateRing => source.RingConnection is not null;

    private EnvelopeRuntime OpenRuntime()
    {
        var core = options.FindExtension<CoreOptionsExtension>();
        var services = core?.ApplicationServiceProvider;
        var runtime = source.GetRuntime(services);
        runtime.Audit.Attach(core?.LoggerFactory ?? (ILoggerFactory?)services?.GetService(typeof(ILoggerFactory)));
        return runtime;
    }

    public static EnvelopeSession Of(DbContext context)
        => (EnvelopeSession?)((IInfrastructure<IServiceProvider>)context).Instance.GetService(typeof(EnvelopeSession))
            ?? throw new EnvelopeConfigurationException(
                $"{context.GetType().Name} has encrypted properties but its options do not call UseEnvelopeEncryption(...). Call it after the database provider.");

    public static EnvelopeSession? Find(DbContext context)
        => (EnvelopeSession?)((IInfrastructure<IServiceProvider>)context).Instance.GetService(typeof(EnvelopeSession));

    /// <summary>The context goes back to its pool: what its transaction made is over.</summary>
    public void ResetState() => _transientKeys?.Clear();

    public Task ResetStateAsync(CancellationToken cancellationToken = default)
    {
        ResetState();
        return Task.CompletedTask;
    }

    public void Dispose() => _transientKeys?.Dispose();

    /// <summary>
    /// The transaction that the context's statements run in, whoever began it: EF's or a raw one (BeginTransaction, UseTransaction), one that the connection was enlisted in, or the
    /// ambient one of a TransactionScope. Null outside of any.
    /// </summary>
    public object? FindTransaction()
        => (object?)relationalConnection.CurrentTransaction?.GetDbTransaction() ?? (relationalConnection as ITransactionEnlistmentManager)?.EnlistedTransaction ?? Transaction.Current;

    /// <summary>Rolls back the transaction that the context's statements run in, whoever began it: what it holds must not be committed.</summary>
    /// <param name="ambient">What <see cref="FindTransaction"/> said on the caller's thread.</param>
    public async Task RollBackAsync(object? ambient)
    {
        if (relationalConnection.CurrentTransaction is { } current)
        {
            await current.RollbackAsync(CancellationToken.None).ConfigureAwait(false);
        }
        else
        {
            (ambient as Transaction)?.Rollback();
        }
    }
}
