using System.Data.Common;
using System.Runtime.CompilerServices;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Reading;

/// <summary>
/// Follows a command from its making to its reader: collects the plan and the values to be sealed, replaces their placeholders when their key is there, and wraps the reader of a
/// query with encrypted columns. One per context.
/// </summary>
internal sealed class EnvelopeCommandInterceptor(EnvelopeSession session) : DbCommandInterceptor
{
    private readonly ConditionalWeakTable<DbCommand, CommandFrame> _frames = [];
    private readonly ConditionalWeakTable<DbCommand, EnvelopeDataReader> _readers = [];
    private bool _hasFrames;

    public override InterceptionResult<DbCommand> CommandCreating(CommandCorrelatedEventData eventData, InterceptionResult<DbCommand> result)
    {
        CommandFrame.Push(this);
        return result;
    }

    public override DbCommand CommandInitialized(CommandEndEventData eventData, DbCommand result)
    {
        // Npgsql uses DbCommand objects again: what an earlier command left is dropped.
        if (CommandFrame.Pop() is { } frame && (frame.Plan is not null || frame.HasPending))
        {
            _hasFrames = true;
            _frames.AddOrUpdate(result, frame);
        }
        else if (_hasFrames)
        {
            _frames.Remove(result);
        }

        return result;
    }

    public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result)
    {
        Seal(command, eventData);
        return result;
    }

    public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        => After(SealAsync(command, eventData, cancellationToken), result);

    public override InterceptionResult<int> NonQueryExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<int> result)
    {
        Seal(command, eventData);
        return result;
    }

    public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
        => After(SealAsync(command, eventData, cancellationToken), result);

    public override InterceptionResult<object> ScalarExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<object> result)
    {
        Seal(command, eventData);
        return result;
    }

    public override ValueTask<InterceptionResult<object>> ScalarExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<object> result, CancellationToken cancellationToken = default)
        => After(SealAsync(command, eventData, cancellationToken), result);

    public override DbDataReader ReaderExecuted(DbCommand command, CommandExecutedEventData eventData, DbDataReader result) => Wrap(command, eventData, result);

    public override ValueTask<DbDataReader> ReaderExecutedAsync(
        DbCommand command, CommandExecutedEventData eventData, DbDataReader result, CancellationToken cancellationToken = default)
        => new(Wrap(command, eventData, result));

    public override InterceptionResult DataReaderDisposing(DbCommand command, DataReaderDisposingEventData eventData, InterceptionResult result)
    {
        if (_hasFrames && _readers.TryGetValue(command, out var reader))
        {
            _readers.Remove(command);
            reader.Release();
        }

        return result;
    }

    private DbDataReader Wrap(DbCommand command, CommandExecutedEventData eventData, DbDataReader reader)
    {
        if (!_hasFrames || eventData.CommandSource == CommandSource.SaveChanges || !_frames.TryGetValue(command, out var frame) || frame.Plan is not ReadPlan plan)
        {
            return reader;
        }

        var wrapped = new EnvelopeDataReader(reader, session, plan);
        _readers.AddOrUpdate(command, wrapped);
        return wrapped;
    }

    private void Seal(DbCommand command, CommandEventData eventData)
    {
        if (FindPending(command) is { } frame)
        {
            SynchronousBridge.Run(() => PendingValues.SealAsync(command, frame, session, CancellationToken.None));
        }
        else
        {
            var asking = SealAsync(command, eventData, CancellationToken.None);
            if (!asking.IsCompletedSuccessfully)
            {
                var asked = asking.AsTask();
                SynchronousBridge.Run(() => asked);
            }
        }
    }

    /// <summary>Seals a query's values now that keys can be awaited; a save sealed its own, and only asks whether it may still send them.</summary>
    private ValueTask SealAsync(DbCommand command, CommandEventData eventData, CancellationToken cancellationToken)
        => FindPending(command) is { } frame
            ? new ValueTask(PendingValues.SealAsync(command, frame, session, cancellationToken))
            : eventData.CommandSource == CommandSource.SaveChanges && session.Sealed is { } save && !save.Ring.IsFresh(save.ConfirmedAt)
                ? save.Ring.ConfirmSealedAsync(save.ConfirmedAt, save.Keys, session.OpenStore(), cancellationToken)
                : ValueTask.CompletedTask;

    private CommandFrame? FindPending(DbCommand command) => _hasFrames && _frames.TryGetValue(command, out var frame) && frame.HasPending ? frame : null;

    private static ValueTask<T> After<T>(ValueTask work, T result)
    {
        return work.IsCompletedSuccessfully ? new ValueTask<T>(result) : AwaitAsync(work, result);

        static async ValueTask<T> AwaitAsync(ValueTask work, T result)
        {
            await work.ConfigureAwait(false);
            return result;
        }
    }
}
