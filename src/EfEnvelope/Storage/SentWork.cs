using System.Data;
using System.Data.Common;
using System.Transactions;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Storage;

/// <summary>
/// Takes back what was sent in a transaction that is not ours to end: to a savepoint, where one was set; else PostgreSQL's transaction is left aborted, as its own errors leave it, so that nothing that follows in it can be committed, not even by itself.
/// </summary>
internal sealed class SentWork(IRelationalConnection connection)
{
    private const string Savepoint = "__EfEnvelope";

    /// <summary>Whether PostgreSQL's connection is in a transaction that EF does not know. The driver does not tell, but begins no second one. A round trip where it is in none.</summary>
    public static async ValueTask<bool> IsInTransactionAsync(NpgsqlConnection postgres, CancellationToken cancellationToken)
    {
        try
        {
            var probe = await postgres.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await probe.DisposeAsync().ConfigureAwait(false);
            return false;
        }
        catch (InvalidOperationException) when (postgres.State == ConnectionState.Open)
        {
            return true;
        }
    }

    /// <returns>False where the transaction has none.</returns>
    public async Task<bool> TrySetSavepointAsync(CancellationToken cancellationToken)
    {
        if (connection.DbConnection is NpgsqlConnection)
        {
            await ExecuteAsync($"SAVEPOINT \"{Savepoint}\"", cancellationToken).ConfigureAwait(false);
            return true;
        }

        if (connection.CurrentTransaction is not { SupportsSavepoints: true } current)
        {
            return false;
        }

        await current.CreateSavepointAsync(Savepoint, cancellationToken).ConfigureAwait(false);
        return true;
    }

    public Task ReleaseSavepointAsync(CancellationToken cancellationToken)
        => connection.DbConnection is NpgsqlConnection
            ? ExecuteAsync($"RELEASE SAVEPOINT \"{Savepoint}\"", cancellationToken)
            : connection.CurrentTransaction!.ReleaseSavepointAsync(Savepoint, cancellationToken);

    /// <param name="sentIn">The transaction that the work was sent in.</param>
    /// <param name="hasSavepoint">Whether <see cref="TrySetSavepointAsync"/> set one before.</param>
    /// <returns>What became of the transaction, for the caller.</returns>
    public async Task<string> UndoAsync(object sentIn, bool hasSavepoint)
    {
        if (hasSavepoint && await TryGoBackAsync().ConfigureAwait(false))
        {
            return "It was undone, nothing was written, and its transaction goes on. Run it again.";
        }

        if (sentIn is Transaction ambient)
        {
            ambient.Rollback();
        }
        else if (await TryAbortAsync().ConfigureAwait(false) is { } isAborted)
        {
            return !isAborted
                ? "Its connection was in no transaction any more, although the context had one: what it wrote is committed, and stands under the retired key until a re-encryption job moves it. Tell EF of a transaction's end (UseTransaction(null))."
                : "Its transaction was aborted: nothing was written, and nothing in it can be. Roll it back, and begin it again.";
        }
        else if (connection.CurrentTransaction is { } current)
        {
            await current.RollbackAsync(CancellationToken.None).ConfigureAwait(false);
        }

        return "Its transaction was rolled back: nothing was written. Begin it again.";
    }

    private async Task<bool> TryGoBackAsync()
    {
        try
        {
            await (connection.DbConnection is NpgsqlConnection
                ? ExecuteAsync($"ROLLBACK TO SAVEPOINT \"{Savepoint}\"", CancellationToken.None)
                : connection.CurrentTransaction!.RollbackToSavepointAsync(Savepoint, CancellationToken.None)).ConfigureAwait(false);
            return true;
        }
        catch (Exception error) when (error is DbException or InvalidOperationException)
        {
            // The whole transaction goes then.
            return false;
        }
    }

    /// <summary>A statement that fails: PostgreSQL refuses whatever follows it in the transaction.</summary>
    /// <returns>True: nothing of the transaction can be committed. False: there is none. Null: not known.</returns>
    private async Task<bool?> TryAbortAsync()
    {
        if (connection.DbConnection is not NpgsqlConnection postgres)
        {
            return null;
        }

        try
        {
            await ExecuteAsync("ROLLBACK TO SAVEPOINT \"a key was retired before this transaction was committed\"", CancellationToken.None).ConfigureAwait(false);
            return null;
        }
        catch (PostgresException error)
        {
            return error.SqlState switch
            {
                PostgresErrorCodes.InvalidSavepointSpecification or PostgresErrorCodes.InFailedSqlTransaction => true,
                PostgresErrorCodes.NoActiveSqlTransaction => false,
                _ => null,
            };
        }
        catch (Exception error) when (error is DbException or InvalidOperationException)
        {
            // A connection that broke took the transaction with it.
            return postgres.State != ConnectionState.Open ? true : null;
        }
    }

    private Task ExecuteAsync(string sql, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection.DbConnection, connection.CurrentTransaction?.GetDbTransaction(), _ => sql, cancellationToken);
}
