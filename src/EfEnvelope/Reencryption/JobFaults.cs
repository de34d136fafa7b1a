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
    /// Whether a row was refused for what it is: by a constraint, a trigger, a type or a length (SQLSTATE classes 22, 23, 44 and P0, SQLITE_CONSTRAINT). The others of its batch may be written.
    /// </summary>
    /// <returns>The reason that the quarantine lists, without the database's words, which may quote values; null for any other failure.</returns>
    public static string? FindRefusal(DbException error)
        => error is Npgsql.PostgresException { SqlState: var state } ? state[..2] is "22" or "23" or "44" or "P0" ? $"RefusedByDatabase {state}" : null
            : error.Message.StartsWith("SQLite Error 19:", StringComparison.Ordinal) ? "RefusedByDatabase 19" : null;

    /// <summary>SQLITE_BUSY, SQLITE_LOCKED: another connection writes. The provider, which is not referenced here, tells the code in the text only: <see cref="System.Runtime.InteropServices.ExternalException.ErrorCode"/> is the same for all.</summary>
    public static bool IsBusy(DbException error)
        => error.Message.StartsWith("SQLite Error 5:", StringComparison.Ordinal) || error.Message.StartsWith("SQLite Error 6:", StringComparison.Ordinal);

    /// <summary>Connection lost, serialization failure, deadlock, lock not available, shutdown, crash, starting up, too many connections. A full disk is not: somebody must act.</summary>
    private static bool IsTransient(string state)
        => state.StartsWith("08", StringComparison.Ordinal) || state is "40001" or "40P01" or "55P03" or "57P01" or "57P02" or "57P03" or "53300";
}
