using System.Data.Common;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>How a command ends: one whose values were sealed is committed when it has run, and rolled back when it failed, where its transaction is ours.</summary>
internal sealed partial class EnvelopeCommandLogger
{
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
