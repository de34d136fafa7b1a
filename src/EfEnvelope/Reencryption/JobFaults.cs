using System.Data.Common;
using System.Net.Sockets;

namespace EfEnvelope.Reencryption;

/// <summary>Which failures of the database are over soon: the job begins again where its last commit was.</summary>
internal static class JobFaults
{
    public static bool IsTransient(Exception error) => error switch
    {
        KeyUnavailableException => true,
        Npgsql.PostgresException postgres => IsTransient(postgres.SqlState),
        Npgsql.NpgsqlException { InnerException: IOException or SocketException or TimeoutException } => true,
        Npgsql.NpgsqlException npgsql => npgsql.IsTransient,
        DbException busy when IsBusy(busy) => true,
        IOException or SocketException => true,
        // A connection that was broken while it was in use.
        ObjectDisposedException or InvalidOperationException { InnerException: DbException } => true,
        _ => error.InnerException is { } inner && IsTransient(inner),
    };

    /// <summary>
    /// Whether a row was refused for what it is: by a constraint, a trigger, a type or a length (SQLITE_CONSTRAINT; on PostgreSQL whatever is not of the server's own classes: triggers raise what their authors chose). The others of its
    /// batch may be written.
    /// </summary>
    /// <returns>The reason that the quarantine lists, without the database's words, which may quote values; null for any other failure.</returns>
    public static string? FindRefusal(DbException error)
        => error is Npgsql.PostgresException { SqlState: var state } ? IsOfServer(state) || IsTransient(state) ? null : $"RefusedByDatabase {state}"
            : error.Message.StartsWith("SQLite Error 19:", StringComparison.Ordinal) ? "RefusedByDatabase 19" : null;

    /// <summary>Connections, transactions, names, rights, resources, the operator: nothing that a row is at fault for.</summary>
    private static bool IsOfServer(string state)
        => state[..2] is "00" or "08" or "0A" or "21" or "25" or "26" or "28" or "2D" or "34" or "3D" or "3F" or "40" or "42" or "53" or "54" or "55" or "57" or "58" or "F0" or "HV" or "XX";

    /// <summary>SQLITE_BUSY, SQLITE_LOCKED: another connection writes. The provider, which is not referenced here, tells the code in the text only: <see cref="System.Runtime.InteropServices.ExternalException.ErrorCode"/> is the same for all.</summary>
    public static bool IsBusy(DbException error)
        => error.Message.StartsWith("SQLite Error 5:", StringComparison.Ordinal) || error.Message.StartsWith("SQLite Error 6:", StringComparison.Ordinal);

    /// <summary>Connection lost, serialization failure, deadlock, lock not available, shutdown, crash, starting up, too many connections. A full disk is not: somebody must act.</summary>
    private static bool IsTransient(string state)
        => state.StartsWith("08", StringComparison.Ordinal) || state is "40001" or "40P01" or "55P03" or "57P01" or "57P02" or "57P03" or "53300";
}
