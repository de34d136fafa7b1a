using System.Data;
using System.Data.Common;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Where a ring's SQL runs: a connection of the ring's own, made for each operation from a pool of its own; or the caller's, where the provider leaves no
/// other way (SQLite in memory, SQLite inside a write transaction).
/// </summary>
internal sealed class RingConnection
{
    private readonly Create? _create;
    private readonly Func<Create>? _detach;
    private readonly DbConnection? _callers;
    private readonly DbTransaction? _transaction;

    private RingConnection(Create? create, Func<Create>? detach, DbConnection? callers, DbTransaction? transaction)
    {
        _create = create;
        _detach = detach;
        _callers = callers;
        _transaction = transaction;
    }

    /// <summary>Makes a new connection, closed or open: the password may come from a provider that answers in its own time.</summary>
    public delegate ValueTask<DbConnection> Create(CancellationToken cancellationToken);

    /// <summary>Whether the caller's connection is used.</summary>
    public bool IsCallers => _callers is not null;

    /// <summary>Whether the caller's open transaction is used, which may yet roll back.</summary>
    public bool IsTransient => _transaction is not null;

    /// <param name="create">Makes a connection for each operation.</param>
    /// <param name="detach">Makes a factory that no longer needs what <paramref name="create"/> needs; null where that needs nothing of the caller's.</param>
    public static RingConnection Own(Create create, Func<Create>? detach = null) => new(create, detach, null, null);

    public static RingConnection Callers(DbConnection connection, DbTransaction? transaction) => new(null, null, connection, transaction);

    /// <summary>A connection that outlives the caller's context.</summary>
    public RingConnection Detach() => _detach is null ? this : Own(_detach());

    public async Task<Lease> OpenAsync(CancellationToken cancellationToken)
    {
        if (_callers is not null)
        {
            var close = _callers.State == ConnectionState.Closed;
            if (close)
            {
                await _callers.OpenAsync(cancellationToken).ConfigureAwait(false);
            }

            return new Lease(_callers, _transaction, close, dispose: false);
        }

        var connection = await _create!(cancellationToken).ConfigureAwait(false);
        try
        {
            if (connection.State != ConnectionState.Open)
            {
                await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
            }

            return new Lease(connection, null, close: false, dispose: true);
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>An open connection; given back when disposed.</summary>
    internal sealed class Lease(DbConnection connection, DbTransaction? transaction, bool close, bool dispose) : IAsyncDisposable
    {
        public DbConnection Connection => connection;

        public DbTransaction? Transaction => transaction;

        public async ValueTask DisposeAsync()
        {
            if (dispose)
            {
                await connection.DisposeAsync().ConfigureAwait(false);
            }
            else if (close)
            {
                await connection.CloseAsync().ConfigureAwait(false);
            }
        }
    }
}
