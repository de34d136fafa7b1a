using System.Data.Common;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>
/// How a command ends: a query's reader is wrapped; what was sealed has reached the server, so it is asked there whether its keys may still seal; and a statement that has a transaction of its own is committed, or rolled back where it failed.
/// </summary>
internal sealed partial class EnvelopeCommandLogger
{
    public DbDataReader CommandReaderExecuted(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DbDataReader methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
    {
        if (MustConfirm(commandSource) && session.FindTransactionOfSave() is { } transaction)
        {
            ConfirmSent(methodResult, transaction);
        }

        return Wrap(
            command,
            commandSource,
            _tellsExecution ? inner.CommandReaderExecuted(connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource) : methodResult);
    }

    public ValueTask<DbDataReader> CommandReaderExecutedAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DbDataReader methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource,
        CancellationToken cancellationToken = default)
    {
        var transaction = MustConfirm(commandSource) ? session.FindTransactionOfSave() : null;
        return _tellsExecution || transaction is not null ? TellAsync() : new ValueTask<DbDataReader>(Wrap(command, commandSource, methodResult));

        async ValueTask<DbDataReader> TellAsync()
        {
            if (transaction is not null)
            {
                await ConfirmSentAsync(methodResult, transaction, cancellationToken).ConfigureAwait(false);
            }

            return Wrap(command, commandSource, _tellsExecution
                ? await inner.CommandReaderExecutedAsync(
                    connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource, cancellationToken).ConfigureAwait(false)
                : methodResult);
        }
    }

    public int CommandNonQueryExecuted(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, int methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
    {
        if (TakeStatement(command) is { } statement)
        {
            SynchronousBridge.Run(() => CompleteAsync(statement, CancellationToken.None));
        }

        return _tellsExecution ? inner.CommandNonQueryExecuted(connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource) : methodResult;
    }

    public async ValueTask<int> CommandNonQueryExecutedAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, int methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource,
        CancellationToken cancellationToken = default)
    {
        if (TakeStatement(command) is { } statement)
        {
            await CompleteAsync(statement, cancellationToken).ConfigureAwait(false);
        }

        return _tellsExecution
            ? await inner.CommandNonQueryExecutedAsync(connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource, cancellationToken).ConfigureAwait(false)
            : methodResult;
    }

    public void CommandError(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, DbCommandMethod executeMethod, Guid commandId, Guid connectionId, Exception exception, DateTimeOffset startTime, TimeSpan duration,
        CommandSource commandSource)
    {
        End(command);
        inner.CommandError(connection, command, logCommandText, context, executeMethod, commandId, connectionId, exception, startTime, duration, commandSource);
    }

    public async Task CommandErrorAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, DbCommandMethod executeMethod, Guid commandId, Guid connectionId, Exception exception, DateTimeOffset startTime, TimeSpan duration,
        CommandSource commandSource, CancellationToken cancellationToken = default)
    {
        await EndAsync(command).ConfigureAwait(false);
        await inner.CommandErrorAsync(connection, command, logCommandText, context, executeMethod, commandId, connectionId, exception, startTime, duration, commandSource, cancellationToken).ConfigureAwait(false);
    }

    public void CommandCanceled(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, DbCommandMethod executeMethod, Guid commandId, Guid connectionId, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
    {
        End(command);
        inner.CommandCanceled(connection, command, logCommandText, context, executeMethod, commandId, connectionId, startTime, duration, commandSource);
    }

    public async Task CommandCanceledAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, DbCommandMethod executeMethod, Guid commandId, Guid connectionId, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource,
        CancellationToken cancellationToken = default)
    {
        await EndAsync(command).ConfigureAwait(false);
        await inner.CommandCanceledAsync(connection, command, logCommandText, context, executeMethod, commandId, connectionId, startTime, duration, commandSource, cancellationToken).ConfigureAwait(false);
    }

    private void ConfirmSent(DbDataReader reader, object transaction) => SynchronousBridge.Run(() => ConfirmSentAsync(reader, transaction, CancellationToken.None));

    /// <summary>A save's statement was answered.</summary>
    private Task ConfirmSentAsync(DbDataReader reader, object transaction, CancellationToken cancellationToken)
        => session.Save is { } save ? session.RequireAfterAsync(save, transaction, reader, hasSavepoint: false, cancellationToken) : Task.CompletedTask;

    private void End(DbCommand command)
    {
        TakeStatement(command)?.Dispose();
        _frames.Remove(command);
    }

    private async ValueTask EndAsync(DbCommand command)
    {
        if (TakeStatement(command) is { } statement)
        {
            await statement.DisposeAsync().ConfigureAwait(false);
        }

        _frames.Remove(command);
    }
}
