using System.Data.Common;
using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage;

/// <summary>
/// A statement whose values were sealed (ExecuteUpdate), until it has run: the keys that sealed them, and the transaction that was begun for it where none was open, so that it is asked before anything is committed whether they still may.
/// On SQLite that transaction holds the write lock before the statement is sent.
/// </summary>
internal sealed class SealedStatement(EnvelopeSession session) : IAsyncDisposable, IDisposable
{
    private readonly object? _callers = session.FindTransaction();
    private IDbContextTransaction? _own;

    public SealingLease Lease { get; } = new(session.Ring, session.OpenStore().IsTransient);

    /// <summary>Whether the statement would commit by itself. Where EF is told to begin no transactions, it does.</summary>
    public bool NeedsTransaction => _callers is null && session.Context.Database.AutoTransactionBehavior != AutoTransactionBehavior.Never;

    /// <summary>Begins the statement's own transaction.</summary>
    public async Task BeginAsync(DbCommand command, IRelationalConnection connection, CancellationToken cancellationToken)
    {
        _own = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        command.Transaction = _own.GetDbTransaction();
    }

    /// <summary>The statement ran: commits it, where that is ours to do.</summary>
    /// <exception cref="KeyUnavailableException">A key was retired before the statement had reached the server: its transaction was rolled back, the caller's too.</exception>
    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        if ((_own?.GetDbTransaction() ?? _callers) is not { } transaction)
        {
            // Committed by itself.
            return;
        }

        await session.RequireAsync(Lease, transaction, answer: null, cancellationToken).ConfigureAwait(false);
        if (_own is not null)
        {
            await _own.CommitAsync(cancellationToken).ConfigureAwait(false);
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
