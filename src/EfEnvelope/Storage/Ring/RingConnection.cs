using System.Data;
using System.Data.Common;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Where a ring's SQL runs: a connection of the ring's own, made for each operation from a pool of its own; or the caller's, where the provider leaves no
/// other way (SQLite in memory, SQLite inside a write transaction).
/// </summary>
internal sealed class RingConnection
{
    private readonly Func<DbConnection>? _create;
    private readonly DbConnection? _callers;
    private readonly DbTransaction? _transaction;

    private RingConnection(Func<DbConnection>? create, DbConnection? callers, DbTransaction? transaction)
    {
        _create = create;
        _callers = callers;
        _transaction = transaction;
    }

    /// <summary>Whether the caller's connection is used.</summary>
    public bool IsCallers => _callers is not null;

    /// <summary>Whether the caller's open transaction is used, which may yet roll back.</summary>
    public bool IsTransient => _transaction is not null;

    public static RingConnection Own(Func<DbConnection> create) => new(create, null, null);

    public static RingConnection Callers(DbConnection connection, DbTransaction? transaction) => new(null, connection, transaction);

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

        var connection = _create!();
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
