using System.Data.Common;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>
/// Follows a command from its making to its reader: collects the plan and the values to be sealed, replaces their placeholders when their key is there, and wraps the reader of a
/// query with encrypted columns. One per context. Stands around EF's logger of commands and not among its interceptors: an interceptor of any kind makes EF prepare event data for every command of the context
/// (a quarter of a row's insert on SQLite), also for those that hold nothing encrypted. Interceptors and logs of the application are called as without it.
/// </summary>
internal sealed partial class EnvelopeCommandLogger(IRelationalCommandDiagnosticsLogger inner, EnvelopeSession session) : IRelationalCommandDiagnosticsLogger
{
    private readonly CommandTable<CommandFrame> _frames = new();
    private readonly CommandTable<EnvelopeDataReader> _readers = new();
    private bool _hasFrames;
    private bool _tellsCreation;
    private bool _tellsExecution;
    private bool _tellsDisposal;

    /// <summary>Always: whether the command has values to be sealed shows only while it is made. What EF's own logger said is kept for the calls that follow.</summary>
    public bool ShouldLogCommandCreate(DateTimeOffset now)
    {
        _tellsCreation = inner.ShouldLogCommandCreate(now);
        return true;
    }

    public bool ShouldLogCommandExecute(DateTimeOffset now)
    {
        _tellsExecution = inner.ShouldLogCommandExecute(now);
        return true;
    }

    public bool ShouldLogDataReaderDispose(DateTimeOffset now)
    {
        _tellsDisposal = inner.ShouldLogDataReaderDispose(now);
        return _tellsDisposal || _hasFrames;
    }

    public InterceptionResult<DbCommand> CommandCreating(
        IRelationalConnection connection, DbCommandMethod commandMethod, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource)
    {
        // Not what migrations and the application's own SQL send, for which no model speaks.
        if (commandSource is CommandSource.LinqQuery or CommandSource.FromSqlQuery or CommandSource.ExecuteUpdate or CommandSource.ExecuteDelete or CommandSource.SaveChanges)
        {
            session.RequireModel();
        }

        CommandFrame.Push(this);
        return _tellsCreation ? inner.CommandCreating(connection, commandMethod, context, commandId, connectionId, startTime, commandSource) : default;
    }

    public DbCommand CommandInitialized(
        IRelationalConnection connection, DbCommand command, DbCommandMethod commandMethod, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
    {
        var frame = CommandFrame.Pop();
        if (_tellsCreation)
        {
            command = inner.CommandInitialized(connection, command, commandMethod, context, commandId, connectionId, startTime, duration, commandSource);
        }

        // Npgsql uses DbCommand objects again: what an earlier command left is dropped.
        if (frame is not null && (frame.Plan is not null || frame.HasPending))
        {
            _hasFrames = true;
            _frames.Set(command, frame);
        }
        else if (_hasFrames)
        {
            _frames.Remove(command);
        }

        return command;
    }

    public InterceptionResult<DbDataReader> CommandReaderExecuting(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource)
    {
        Seal(command, commandSource, null);
        return _tellsExecution ? inner.CommandReaderExecuting(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource) : default;
    }

    public ValueTask<InterceptionResult<DbDataReader>> CommandReaderExecutingAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource, CancellationToken cancellationToken = default)
    {
        RequireRing(commandSource);
        return FindPending(command) is null && !MustAsk(commandSource)
            ? Tell()
            : SealAndTellAsync();

        ValueTask<InterceptionResult<DbDataReader>> Tell()
            => _tellsExecution ? inner.CommandReaderExecutingAsync(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource, cancellationToken) : default;

        async ValueTask<InterceptionResult<DbDataReader>> SealAndTellAsync()
        {
            await SealAsync(command, commandSource, null, cancellationToken).ConfigureAwait(false);
            return await Tell().ConfigureAwait(false);
        }
    }

    public InterceptionResult<object> CommandScalarExecuting(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource)
    {
        Seal(command, commandSource, null);
        return _tellsExecution ? inner.CommandScalarExecuting(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource) : default;
    }

    public async ValueTask<InterceptionResult<object>> CommandScalarExecutingAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource, CancellationToken cancellationToken = default)
    {
        await SealAsync(command, commandSource, null, cancellationToken).ConfigureAwait(false);
        return _tellsExecution
            ? await inner.CommandScalarExecutingAsync(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource, cancellationToken).ConfigureAwait(false)
            : default;
    }

    public InterceptionResult<int> CommandNonQueryExecuting(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource)
    {
        Seal(command, commandSource, connection);
        return _tellsExecution ? inner.CommandNonQueryExecuting(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource) : default;
    }

    public async ValueTask<InterceptionResult<int>> CommandNonQueryExecutingAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, CommandSource commandSource, CancellationToken cancellationToken = default)
    {
        await SealAsync(command, commandSource, connection, cancellationToken).ConfigureAwait(false);
        return _tellsExecution
            ? await inner.CommandNonQueryExecutingAsync(connection, command, logCommandText, context, commandId, connectionId, startTime, commandSource, cancellationToken).ConfigureAwait(false)
            : default;
    }

    public InterceptionResult DataReaderDisposing(
        IRelationalConnection connection, DbCommand command, DbDataReader dataReader, Guid commandId, int recordsAffected, int readCount, DateTimeOffset startTime, TimeSpan duration)
    {
        if (_hasFrames && _readers.TryGet(command, out var reader))
        {
            _readers.Remove(command);
            reader.Release();
        }

        return _tellsDisposal ? inner.DataReaderDisposing(connection, command, dataReader, commandId, recordsAffected, readCount, startTime, duration) : default;
    }

    private DbDataReader Wrap(DbCommand command, CommandSource source, DbDataReader reader)
    {
        if (!_hasFrames || source == CommandSource.SaveChanges || !_frames.TryGet(command, out var frame) || frame.Plan is not ReadPlan plan)
        {
            return reader;
        }

        // One that could not be closed was never told to be disposed of.
        if (_readers.TryGet(command, out var former))
        {
            former.Release();
        }

        _frames.Remove(command);
        try
        {
            var wrapped = new EnvelopeDataReader(reader, session, plan);
            _readers.Set(command, wrapped);
            return wrapped;
        }
        catch
        {
            // EF never gets the reader, and would leave it open on the connection.
            reader.Dispose();
            throw;
        }
    }

    private void Seal(DbCommand command, CommandSource source, IRelationalConnection? connection)
    {
        RequireRing(source);
        if (FindPending(command) is { } frame)
        {
            SealPending(command, frame, new SealedStatement(session), connection);
        }
        else if (MustAsk(source))
        {
            SynchronousBridge.Run(() => ConfirmAsync(CancellationToken.None));
        }
    }

    private void SealPending(DbCommand command, CommandFrame frame, SealedStatement statement, IRelationalConnection? connection)
        => SynchronousBridge.Run(() => SealPendingAsync(command, frame, statement, connection, CancellationToken.None));

    /// <summary>Seals a statement's values now that keys can be awaited; a save sealed its own, and only asks whether it may still send them.</summary>
    /// <param name="command">The command.</param>
    /// <param name="source">Who made it.</param>
    /// <param name="connection">Of a command that writes, unless it is a save's.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    private Task SealAsync(DbCommand command, CommandSource source, IRelationalConnection? connection, CancellationToken cancellationToken)
    {
        RequireRing(source);
        return FindPending(command) is { } frame ? SealPendingAsync(command, frame, new SealedStatement(session), connection, cancellationToken)
            : MustAsk(source) ? ConfirmAsync(cancellationToken)
            : Task.CompletedTask;
    }

    /// <summary>A save's connection is open now, and leads where it leads.</summary>
    private void RequireRing(CommandSource source)
    {
        if (source == CommandSource.SaveChanges && session.Save is { } save)
        {
            session.RequireRing(save);
        }
    }

    private Task ConfirmAsync(CancellationToken cancellationToken) => session.Save is { } save ? session.RequireBeforeAsync(save, cancellationToken) : Task.CompletedTask;

    /// <summary>Whatever comes of it, the values themselves are let go.</summary>
    private async Task SealPendingAsync(DbCommand command, CommandFrame frame, SealedStatement statement, IRelationalConnection? connection, CancellationToken cancellationToken)
    {
        try
        {
            var own = statement.NeedsTransaction ? connection : null;
            await PendingValues.SealAsync(command, frame, session, statement, own, cancellationToken).ConfigureAwait(false);
            if (connection is not null)
            {
                await statement.GuardAsync(cancellationToken).ConfigureAwait(false);
                frame.Statement = statement;
            }
        }
        finally
        {
            frame.Forget();
            if (frame.Statement is null)
            {
                await statement.DisposeAsync().ConfigureAwait(false);
                if (frame.Plan is null)
                {
                    _frames.Remove(command);
                }
            }
        }
    }

    /// <summary>What a command that ran or failed has left to do; null where that is nothing.</summary>
    private SealedStatement? TakeStatement(DbCommand command)
    {
        if (!_hasFrames || !_frames.TryGet(command, out var frame) || frame.Statement is not { } statement)
        {
            return null;
        }

        frame.Statement = null;
        return statement;
    }

    private static async Task CompleteAsync(SealedStatement statement, CancellationToken cancellationToken)
    {
        await using (statement.ConfigureAwait(false))
        {
            await statement.CompleteAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Before a save's statement is sent: one that commits by itself is asked nothing afterwards, and needs time for the way.</summary>
    private bool MustAsk(CommandSource source)
        => source == CommandSource.SaveChanges && session.Save is { } save && (!save.IsValid || (save.IsHalfOver && session.FindTransactionOfSave() is null));

    /// <summary>When it was answered.</summary>
    private bool MustConfirm(CommandSource source) => source == CommandSource.SaveChanges && session.Save is { IsValid: false };

    private CommandFrame? FindPending(DbCommand command) => _hasFrames && _frames.TryGet(command, out var frame) && frame.HasPending ? frame : null;
}
