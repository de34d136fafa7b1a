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
        // SQLITE_BUSY, SQLITE_LOCKED.
        DbException { ErrorCode: 5 or 6 } => true,
        IOException or SocketException => true,
        // A connection that was broken while it was in use.
        ObjectDisposedException or InvalidOperationException { InnerException: DbException } => true,
        _ => error.InnerException is { } inner && IsTransient(inner),
    };

    /// <summary>Connection lost, serialization failure, deadlock, lock not available, shutdown, crash, starting up, too many connections. A full disk is not: somebody must act.</summary>
    private static bool IsTransient(string state)
        => state.StartsWith("08", StringComparison.Ordinal) || state is "40001" or "40P01" or "55P03" or "57P01" or "57P02" or "57P03" or "53300";
}
