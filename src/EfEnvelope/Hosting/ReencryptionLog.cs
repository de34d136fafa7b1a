using Microsoft.Extensions.Logging;

namespace EfEnvelope.Hosting;

/// <summary>What the hosted service logs: counts, names of tables, outcomes; never a value. The ids stand in docs/running.md.</summary>
internal static partial class ReencryptionLog
{
    [LoggerMessage(45301, LogLevel.Debug, "Re-encryption of {Context}: nothing is stale.")]
    public static partial void NothingStale(ILogger logger, string context);

    [LoggerMessage(45302, LogLevel.Information, "Re-encryption of {Context} begins: {Keys} retired key(s).")]
    public static partial void Started(ILogger logger, string context, int keys);

    [LoggerMessage(45303, LogLevel.Information, "Re-encryption of {Context}: {Table}, {Done} row(s) done, {ToDo} to do, {RowsPerSecond} rows/s.")]
    public static partial void Progress(ILogger logger, string context, string table, long done, long toDo, long rowsPerSecond);

    [LoggerMessage(45304, LogLevel.Information, "Re-encryption of {Context} is proven: {Rows} row(s), {Conflicts} conflict(s), {Elapsed}.")]
    public static partial void Proven(ILogger logger, string context, long rows, long conflicts, TimeSpan elapsed);

    [LoggerMessage(45305, LogLevel.Warning, "Re-encryption of {Context} is not proven: {Because}. {Rows} row(s), {Quarantined} quarantined. It runs again when it is next due.")]
    public static partial void NotProven(ILogger logger, string context, long rows, long quarantined, string? because);

    [LoggerMessage(45306, LogLevel.Information, "Re-encryption of {Context} stopped. Nothing is lost; the next run takes it up.")]
    public static partial void Stopped(ILogger logger, string context);

    [LoggerMessage(45307, LogLevel.Error, "Re-encryption of {Context} failed ({ErrorType}). What was committed stands; it runs again when it is next due.")]
    public static partial void Failed(ILogger logger, Exception error, string context, string errorType);

    [LoggerMessage(45308, LogLevel.Debug, "Re-encryption of {Context}: no other key is retired since the last run that ended ({Outcome}). Unless one is, the tables are read again at {Until}.")]
    public static partial void Saved(ILogger logger, string context, ReencryptionOutcome outcome, DateTimeOffset until);
}
