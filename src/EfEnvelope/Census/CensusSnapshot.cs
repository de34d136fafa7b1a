using System.Data;
using System.Data.Common;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Census;

/// <summary>
/// One state of the database for all that a census reads: a cell that moves from a table that is not counted yet to one that is counted already would be in neither. PostgreSQL: one transaction of REPEATABLE READ, with row-level security
/// off; its tables are locked (ACCESS SHARE, which hinders only changes of their shape) before its snapshot is taken, since to an older one a table that was written anew is empty. SQLite: one read transaction. In a transaction of the
/// caller's, that one. Nothing is written. Not thread safe.
/// </summary>
internal sealed class CensusSnapshot : IAsyncDisposable
{
    private readonly DbConnection _connection;
    private readonly DbTransaction? _own;
    private readonly bool _isByStatement;

    private CensusSnapshot(DbConnection connection, DbTransaction? own, DbTransaction? callers, bool isByStatement)
        => (_connection, _own, Transaction, _isByStatement) = (connection, own, own ?? callers, isByStatement);

    /// <summary>Unlisted tables that another session holds, delimited: they cannot be counted now.</summary>
    public HashSet<string> Busy { get; } = new(StringComparer.Ordinal);

    /// <summary>What commands must name; null where none is known to the provider.</summary>
    public DbTransaction? Transaction { get; }

    /// <summary>Whether what is counted is a standby's, which may not have replayed yet what the primary committed. Asked of the very connection that counts: another one may lead to another host.</summary>
    public async ValueTask<bool> IsOfStandbyAsync(CancellationToken cancellationToken)
    {
        if (_connection is not NpgsqlConnection)
        {
            return false;
        }

        using var command = _connection.CreateCommand();
        command.Transaction = Transaction;
        command.CommandText = "SELECT pg_is_in_recovery()";
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is true;
    }

    /// <param name="lease">The connection that is to count.</param>
    /// <param name="tables">Everything that is to be counted, delimited.</param>
    /// <param name="unlisted">Tables that nobody listed and that are to be counted too: others may work with them for hours, and nobody waits for them with the listed ones locked.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    public static async Task<CensusSnapshot> BeginAsync(RingConnection.Lease lease, IReadOnlyCollection<string> tables, IReadOnlyCollection<string> unlisted, CancellationToken cancellationToken)
    {
        if (lease.Transaction is { } callers)
        {
            return new CensusSnapshot(lease.Connection, null, callers, isByStatement: false);
        }

        if (lease.Connection is not NpgsqlConnection)
        {
            // The provider's own transactions lock the database for writing.
            await ExecuteAsync(lease.Connection, null, "BEGIN", cancellationToken).ConfigureAwait(false);
            return new CensusSnapshot(lease.Connection, null, null, isByStatement: true);
        }

        var lockable = await FindLockableAsync(lease.Connection, tables, cancellationToken).ConfigureAwait(false);
        var others = unlisted.Count == 0 ? [] : await FindLockableAsync(lease.Connection, unlisted, cancellationToken).ConfigureAwait(false);
        var transaction = await lease.Connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellationToken).ConfigureAwait(false);
        try
        {
            await ExecuteAsync(
                lease.Connection, transaction,
                $"SET TRANSACTION READ ONLY; SET LOCAL row_security = off; {Sql.NoTimeouts(lease.Connection)}{(lockable.Count > 0 ? $"; LOCK TABLE {string.Join(", ", lockable)} IN ACCESS SHARE MODE" : "")}", cancellationToken).ConfigureAwait(false);
            var snapshot = new CensusSnapshot(lease.Connection, transaction, null, isByStatement: false);
            foreach (var table in others)
            {
                await snapshot.TryLockAsync(table, cancellationToken).ConfigureAwait(false);
            }

            return snapshot;
        }
        catch
        {
            await transaction.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task TryLockAsync(string table, CancellationToken cancellationToken)
    {
        try
        {
            await ExecuteAsync(_connection, Transaction, $"SAVEPOINT \"__EfEnvelope\"; LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT; RELEASE SAVEPOINT \"__EfEnvelope\"", cancellationToken).ConfigureAwait(false);
        }
        catch (PostgresException error) when (error.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.InvalidSchemaName or PostgresErrorCodes.OutOfMemory)
        {
            await ExecuteAsync(_connection, Transaction, "ROLLBACK TO SAVEPOINT \"__EfEnvelope\"", cancellationToken).ConfigureAwait(false);
            Busy.Add(table);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_own is not null)
        {
            await _own.DisposeAsync().ConfigureAwait(false);
        }
        else if (_isByStatement)
        {
            try
            {
                await ExecuteAsync(_connection, null, "ROLLBACK", CancellationToken.None).ConfigureAwait(false);
            }
            catch (DbException)
            {
                // Some errors of SQLite end the transaction themselves; that error is under way.
            }
        }
    }

    /// <summary>Those of which there can be a lock: tables, partitioned ones and views. Foreign tables have none.</summary>
    private static async Task<List<string>> FindLockableAsync(DbConnection connection, IReadOnlyCollection<string> tables, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT name FROM unnest({Sql.AddArray(command, NpgsqlDbType.Text, tables.Distinct(StringComparer.Ordinal).ToArray())}) AS name JOIN pg_class ON oid = to_regclass(name) WHERE relkind IN ('r', 'p', 'v')";
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            var found = new List<string>();
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                found.Add(reader.GetString(0));
            }

            return found;
        }
    }

    private static async Task ExecuteAsync(DbConnection connection, DbTransaction? transaction, string sql, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        command.CommandTimeout = 0;
        await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
    }
}
