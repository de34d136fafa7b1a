using System.Data.Common;
using System.Globalization;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Storage;

/// <summary>Parameters of statements over tables that are not EfEnvelope's own.</summary>
internal static class Sql
{
    /// <summary>Adds a value and returns its place holder.</summary>
    public static string Add(DbCommand command, object value)
    {
        var parameter = command.CreateParameter();
        parameter.ParameterName = NextName(command);
        parameter.Value = value;
        command.Parameters.Add(parameter);
        return parameter.ParameterName;
    }

    /// <summary>Adds a PostgreSQL array and returns its place holder.</summary>
    public static string AddArray(DbCommand command, NpgsqlDbType elementType, Array values)
    {
        var parameter = new NpgsqlParameter(NextName(command), NpgsqlDbType.Array | elementType) { Value = values };
        command.Parameters.Add(parameter);
        return parameter.ParameterName;
    }

    /// <summary>
    /// For a transaction of PostgreSQL that reads whole tables: it takes as long as it takes, whatever the role's or the database's limits for an application's statements are. Settings alone, which take no snapshot.
    /// </summary>
    public static string NoTimeouts(DbConnection connection)
        => $"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0{(connection is NpgsqlConnection { PostgreSqlVersion.Major: >= 17 } ? "; SET LOCAL transaction_timeout = 0" : "")}";

    /// <summary>A name that the command has not used yet.</summary>
    public static string NextName(DbCommand command) => "@v" + command.Parameters.Count.ToString(CultureInfo.InvariantCulture);
}
