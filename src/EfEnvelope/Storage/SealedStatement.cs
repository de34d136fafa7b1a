using System.Data;
using System.Data.Common;
using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Storage;

/// <summary>
/// A statement whose values were sealed (ExecuteUpdate), until it has run: the keys that sealed them, and the transaction that was begun for it where none was open, so that it is asked before anything is committed whether they still may.
/// On SQLite that transaction holds the write lock before the statement is sent.
/// </summary>
internal sealed class SealedStatement(EnvelopeSession session) : IAsyncDisposable, IDisposable
{
    private readonly object? _callers = session.FindTransaction();
    private IDbContextTransaction? _own;
    private bool _isRaw;
    private bool _hasSavepoint;

    public SealingLease Lease { get; } = new(session.Ring, session.OpenStore().IsTransient);

    /// <summary>Whether the statement would commit by itself. Where EF begins no transactions, it does.</summary>
    public bool NeedsTransaction => _callers is null && !session.IsWithoutTransactions;

    /// <summary>Whether it will commit by itself, so that nobody asks when it has arrived.</summary>
    private bool IsAlone => _own is null && _callers is null && !_isRaw;

    /// <summary>Begins the statement's own transaction. None where the connection is in one that EF does not know.</summary>
    public async Task BeginAsync(DbCommand command, IRelationalConnection connection, CancellationToken cancellationToken)
    {
        try
        {
            _own = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidOperationException) when (connection.CurrentTransaction is null && connection.DbConnection is NpgsqlConnection { State: ConnectionState.Open })
        {
            // EF opened the connection once more for the transaction.
            await connection.CloseAsync().ConfigureAwait(false);
            if (!await session.IsInRawTransactionAsync(cancellationToken).ConfigureAwait(false))
            {
                throw;
            }

            _isRaw = true;
            return;
        }

        command.Transaction = _own.GetDbTransaction();
    }

    /// <summary>Asks, before it is sent, whether its keys may still seal.</summary>
    public ValueTask<RingKey?> FindRetiredAsync(IKeyRingStore store, CancellationToken cancellationToken)
        => IsAlone ? Lease.FindRetiredAnewAsync(store, cancellationToken) : Lease.FindRetiredAsync(store, cancellationToken);

    /// <summary>
    /// In a transaction of the caller's: a savepoint to go back to, where the lease may well be over when the statement was answered; on SQLite wherever that can be, as nothing there keeps a transaction from going on.
    /// </summary>
    public async Task GuardAsync(CancellationToken cancellationToken)
    {
        if (_own is null && !IsAlone && (session.IsSqlite ? session.HasSeparateRing : Lease.IsHalfOver))
        {
            _hasSavepoint = await session.SentWork.TrySetSavepointAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The statement ran: commits it, where that is ours to do.</summary>
    /// <exception cref="KeyUnavailableException">A key was retired before the statement had reached the server: it was undone, with the caller's transaction where that has no savepoint.</exception>
    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        if (_own is not null)
        {
            if (await Lease.FindRetiredAsync(session.OpenStore(), cancellationToken).ConfigureAwait(false) is { } retired)
            {
                throw SealingLease.Refusal(retired, "It was rolled back: nothing was written. Run it again.");
            }

            await _own.CommitAsync(cancellationToken).ConfigureAwait(false);
        }
        else if (!IsAlone)
        {
            await session.RequireAfterAsync(Lease, _callers ?? session, answer: null, _hasSavepoint, cancellationToken).ConfigureAwait(false);
            if (_hasSavepoint)
            {
                await session.SentWork.ReleaseSavepointAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    public void Dispose()
    {
        _own?.Dispose();
        Forget();
    }

    public async ValueTask DisposeAsync()
    {
        if (_own is not null)
        {
            await _own.DisposeAsync().ConfigureAwait(false);
        }

        Forget();
    }

    private void Forget()
    {
        Lease.Dispose();
        if (_own is not null)
        {
            session.TransientKeys.ForgetEnded();
        }
    }
}
