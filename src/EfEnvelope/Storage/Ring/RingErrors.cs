using System.Data.Common;

namespace EfEnvelope.Storage.Ring;

/// <summary>Reads the databases' errors.</summary>
internal static class RingErrors
{
    public static bool IsMissingTable(DbException error)
        => error.SqlState is "42P01" or "3F000" || (error.Message.Contains("no such table", StringComparison.OrdinalIgnoreCase) && !IsMissingJson(error));

    /// <summary>Whether SQLite was built without its JSON functions, through which it takes lists of ids.</summary>
    public static bool IsMissingJson(DbException error) => error.Message.Contains("no such table: json_each", StringComparison.OrdinalIgnoreCase);

    public static EnvelopeConfigurationException MissingJson(DbException error)
        => new("The SQLite library that is loaded was built without JSON support (it has no json_each), which EfEnvelope needs. Use the one that Microsoft.EntityFrameworkCore.Sqlite brings with it, or one of version 3.38 or later without SQLITE_OMIT_JSON. Nothing was written.", error);

    public static bool IsMissingColumn(DbException error)
        => error.SqlState is "42703" || error.Message.Contains("no such column", StringComparison.OrdinalIgnoreCase) || error.Message.Contains("has no column named", StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether the server did not answer: no connection, or none in time. What it answered (a permission, a lock that another connection holds) may be meant for one caller alone.</summary>
    public static bool IsOutOfReach(Exception error) => error is not DbException || (error is Npgsql.NpgsqlException { IsTransient: true } and not Npgsql.PostgresException);

    /// <summary>Whether the connection's or the command's own time-out was waited for.</summary>
    public static bool IsTimeout(Exception? error)
    {
        while (error is not (null or TimeoutException))
        {
            error = error.InnerException;
        }

        return error is not null;
    }

    /// <summary>The database's own words without row details, which may quote values.</summary>
    public static string Describe(Exception error) => error is Npgsql.PostgresException postgres ? $"{postgres.SqlState}: {postgres.MessageText}." : $"{error.Message}";
}
