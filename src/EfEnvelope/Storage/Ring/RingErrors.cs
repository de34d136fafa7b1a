using System.Data.Common;

namespace EfEnvelope.Storage.Ring;

/// <summary>Reads the databases' errors.</summary>
internal static class RingErrors
{
    public static bool IsMissingTable(DbException error)
        => error.SqlState is "42P01" or "3F000" || error.Message.Contains("no such table", StringComparison.OrdinalIgnoreCase);

    public static bool IsMissingColumn(DbException error)
        => error.SqlState is "42703" || error.Message.Contains("no such column", StringComparison.OrdinalIgnoreCase) || error.Message.Contains("has no column named", StringComparison.OrdinalIgnoreCase);

    /// <summary>The database's own words without row details, which may quote values.</summary>
    public static string Describe(Exception error) => error is Npgsql.PostgresException postgres ? $"{postgres.SqlState}: {postgres.MessageText}." : $"{error.Message}";
}
