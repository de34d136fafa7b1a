using System.Data.Common;
using System.Diagnostics;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Reading;

/// <summary>The members that pass through.</summary>
internal sealed partial class EnvelopeCommandLogger
{
    public ILoggingOptions Options => inner.Options;

    public LoggingDefinitions Definitions => inner.Definitions;

    public ILogger Logger => inner.Logger;

    public DiagnosticSource DiagnosticSource => inner.DiagnosticSource;

    public IDbContextLogger DbContextLogger => inner.DbContextLogger;

    public IInterceptors? Interceptors => inner.Interceptors;

    public bool ShouldLogSensitiveData() => inner.ShouldLogSensitiveData();

    public bool ShouldLogDataReaderClose(DateTimeOffset now) => inner.ShouldLogDataReaderClose(now);

    public DbCommand CommandCreated(
        IRelationalConnection connection, DbCommand command, DbCommandMethod commandMethod, DbContext? context, Guid commandId, Guid connectionId, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
        => _tellsCreation ? inner.CommandCreated(connection, command, commandMethod, context, commandId, connectionId, startTime, duration, commandSource) : command;

    public object? CommandScalarExecuted(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, object? methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource)
        => _tellsExecution ? inner.CommandScalarExecuted(connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource) : methodResult;

    public ValueTask<object?> CommandScalarExecutedAsync(
        IRelationalConnection connection, DbCommand command, string logCommandText, DbContext? context, Guid commandId, Guid connectionId, object? methodResult, DateTimeOffset startTime, TimeSpan duration, CommandSource commandSource,
        CancellationToken cancellationToken = default)
        => _tellsExecution
            ? inner.CommandScalarExecutedAsync(connection, command, logCommandText, context, commandId, connectionId, methodResult, startTime, duration, commandSource, cancellationToken)
            : new ValueTask<object?>(methodResult);

    public InterceptionResult DataReaderClosing(
        IRelationalConnection connection, DbCommand command, DbDataReader dataReader, Guid commandId, int recordsAffected, int readCount, DateTimeOffset startTime)
        => inner.DataReaderClosing(connection, command, dataReader, commandId, recordsAffected, readCount, startTime);

    public ValueTask<InterceptionResult> DataReaderClosingAsync(
        IRelationalConnection connection, DbCommand command, DbDataReader dataReader, Guid commandId, int recordsAffected, int readCount, DateTimeOffset startTime)
        => inner.DataReaderClosingAsync(connection, command, dataReader, commandId, recordsAffected, readCount, startTime);
}
