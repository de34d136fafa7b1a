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

    /// <summary>A name that the command has not used yet.</summary>
    public static string NextName(DbCommand command) => "@v" + command.Parameters.Count.ToString(CultureInfo.InvariantCulture);
}
