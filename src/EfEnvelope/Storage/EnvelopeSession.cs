using System.Data;
using System.Data.Common;
using System.Transactions;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.Logging;
using Npgsql;

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
    private bool _isModelKnown;

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

    /// <summary>The same, for who has begun a transaction on a connection that EF does not know of: where the ring's rows can be reached by that connection alone, in that transaction.</summary>
    public IKeyRingStore OpenStore(DbConnection connection, DbTransaction transaction)
        => OpenStore() is { UsesCallersConnection: false } store ? store : RingStoreFactory.ForConnection(Context, connection, transaction);

    /// <summary>Keys made inside the context's open transaction: they leave for the shared cache only when they are read again from committed rows.</summary>
    public TransientKeys TransientKeys => _transientKeys ??= new TransientKeys(FindLiveTransaction);

    /// <summary>The scope of the context's tenant; null when none is configured or set (the default of its type is no tenant).</summary>
    public string? AmbientScope
        => source.AmbientTenant?.Invoke(Context) is { } tenant && !RowScope.IsDefault(tenant) ? KeyScope.ForTenant(tenant) : null;

    public bool IsSqlite => RingStoreFactory.IsSqlite(relationalConnection.DbConnection);

    /// <summary>Whether the database ends with the context's connection.</summary>
    public bool IsInMemory => RingStoreFactory.IsInMemory(relationalConnection.DbConnection);

    /// <summary>Whether the ring stands in a database of its own.</summary>
    public bool HasSeparateRing => source.RingConnection is not null;

    /// <summary>Asks once whether the context's model is one for its options: other options may have made it, and compiled its queries, where they share a cache with these (<c>UseMemoryCache</c>).</summary>
    public void RequireModel()
    {
        if (!_isModelKnown)
        {
            source.Require(Context.Model);
            _isModelKnown = true;
        }
    }

    private EnvelopeRuntime OpenRuntime()
    {
        RequireModel();
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
    /// ambient one of a TransactionScope, where the connection takes part in it. Null outside of any.
    /// </summary>
    public object? FindTransaction()
        => (object?)relationalConnection.CurrentTransaction?.GetDbTransaction()
            ?? (relationalConnection as ITransactionEnlistmentManager)?.EnlistedTransaction
            ?? (IsSqlite ? null : (relationalConnection as ITransactionEnlistmentManager)?.CurrentAmbientTransaction);

    /// <summary>
    /// The same, told apart from those before and after it: EF's own object is a new one for each, where Npgsql hands out one of a connection again and again. None where a raw one that EF was given is completed and EF was not told.
    /// </summary>
    private object? FindLiveTransaction()
        => relationalConnection.CurrentTransaction is not { } current ? FindTransaction() : IsCompleted(current.GetDbTransaction()) ? null : current;

    /// <summary>Of its level a transaction speaks only while it is open.</summary>
    private static bool IsCompleted(DbTransaction transaction)
    {
        try
        {
            _ = transaction.IsolationLevel;
            return transaction.Connection is null;
        }
        catch (InvalidOperationException)
        {
            return true;
        }
    }

    /// <summary>Whether every statement commits by itself: EF begins no transaction where it was told not to, nor beside an ambient one, in which SQLite's driver takes no part.</summary>
    public bool IsWithoutTransactions
        => Context.Database.AutoTransactionBehavior == AutoTransactionBehavior.Never
            || (IsSqlite && (relationalConnection as ITransactionEnlistmentManager)?.CurrentAmbientTransaction is not null);

    /// <summary>Whether a save that is under way runs in a transaction of the connection that EF does not know.</summary>
    public bool IsSaveInRawTransaction { get; set; }

    /// <summary>What the save's statements are sent in; null where each commits by itself.</summary>
    public object? FindTransactionOfSave() => FindTransaction() ?? (IsSaveInRawTransaction ? this : null);

    /// <summary>Takes back what was sent in a transaction.</summary>
    public SentWork SentWork => new(relationalConnection);

    /// <summary>Whether the connection was opened before, and is in a transaction that EF does not know. PostgreSQL alone; SQLite lets no command run beside its own.</summary>
    public ValueTask<bool> IsInRawTransactionAsync(CancellationToken cancellationToken)
        => relationalConnection.DbConnection is NpgsqlConnection { State: ConnectionState.Open } postgres && FindTransaction() is null
            ? SentWork.IsInTransactionAsync(postgres, cancellationToken)
            : ValueTask.FromResult(false);

    /// <summary>Whether the open connection leads to the ring whose keys sealed what a save is about to send. A ring in a database of its own is the same wherever the data's connection leads. No I/O.</summary>
    /// <exception cref="EnvelopeConfigurationException">It does not.</exception>
    public void RequireRing(SealingLease lease)
    {
        if (!HasSeparateRing && !lease.IsOf(Ring))
        {
            throw new EnvelopeConfigurationException(
                "When it was opened, the context's connection led to another database, role or search path than its connection string said when the keys were chosen. Set the connection string before SaveChanges, open the connection first (context.Database.OpenConnectionAsync()), or set it in an IDbConnectionInterceptor. Nothing was written.");
        }
    }

    /// <summary>Asks, before a statement of a save is sent, whether what was sealed may be written.</summary>
    /// <exception cref="KeyUnavailableException">A key was retired meanwhile.</exception>
    public async Task RequireBeforeAsync(SealingLease lease, CancellationToken cancellationToken)
    {
        var store = OpenStore();
        var retired = FindTransactionOfSave() is null
            ? await lease.FindRetiredAnewAsync(store, cancellationToken).ConfigureAwait(false)
            : await lease.FindRetiredAsync(store, cancellationToken).ConfigureAwait(false);
        if (retired is { } key)
        {
            throw SealingLease.Refusal(key, "Nothing was written. Save again.");
        }
    }

    /// <summary>
    /// Asks whether what was sealed may stay, when a statement of a transaction was answered. One that began on the server before a key's lease was over has everybody wait for it who waits for the key's end. A question that has no answer is taken for a no.
    /// </summary>
    /// <param name="lease">What sealed it.</param>
    /// <param name="sentIn">The transaction in which it was sent, as <see cref="FindTransactionOfSave"/> said on the caller's thread.</param>
    /// <param name="answer">The statement's open reader; disposed of where an exception is thrown: EF never gets it then, and would leave it open on the connection.</param>
    /// <param name="hasSavepoint">Whether a savepoint was set before.</param>
    /// <param name="cancellationToken">Cancels the question.</param>
    /// <exception cref="KeyUnavailableException">A key was retired meanwhile. What was sent is undone: to a savepoint, ours or EF's, else with the transaction, the caller's too.</exception>
    public async Task RequireAfterAsync(SealingLease lease, object sentIn, DbDataReader? answer, bool hasSavepoint, CancellationToken cancellationToken)
    {
        RingKey? key;
        try
        {
            key = await lease.FindRetiredAsync(OpenStore(), cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await UndoAsync(lease, sentIn, answer, hasSavepoint, cancellationToken).ConfigureAwait(false);
            throw;
        }

        if (key is not null)
        {
            throw SealingLease.Refusal(key, await UndoAsync(lease, sentIn, answer, hasSavepoint, cancellationToken).ConfigureAwait(false));
        }
    }

    private async Task<string> UndoAsync(SealingLease lease, object sentIn, DbDataReader? answer, bool hasSavepoint, CancellationToken cancellationToken)
    {
        if (answer is not null)
        {
            await answer.DisposeAsync().ConfigureAwait(false);
        }

        // EF goes back to its savepoint, or rolls its own transaction back; with the caller's token, so not where that is cancelled.
        return !cancellationToken.IsCancellationRequested && ReferenceEquals(lease, Save) && Context.Database.AutoSavepointsEnabled && relationalConnection.CurrentTransaction is { SupportsSavepoints: true }
            ? "Nothing was written. Save again."
            : await SentWork.UndoAsync(sentIn, hasSavepoint).ConfigureAwait(false);
    }
}
