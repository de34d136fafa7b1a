using System.Data.Common;
using System.Reflection;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Census;

/// <summary>One column of a table's primary key.</summary>
internal sealed class KeyColumn(string name, string delimited, RelationalTypeMapping mapping, Type providerType, IProperty property)
{
    private static readonly MethodInfo ReadMethod = typeof(KeyColumn).GetMethod(nameof(ReadField), BindingFlags.NonPublic | BindingFlags.Static)!;

    private readonly Func<DbDataReader, int, object> _read = ReadMethod.MakeGenericMethod(providerType).CreateDelegate<Func<DbDataReader, int, object>>();

    public string Name => name;

    public string Delimited => delimited;

    public RelationalTypeMapping Mapping => mapping;

    /// <summary>The type in which the provider reads and takes values, after the property's conversion.</summary>
    public Type ProviderType => providerType;

    public IProperty Property => property;

    /// <summary>The provider's value, of the type that EF's mapping has.</summary>
    public object Read(DbDataReader reader, int ordinal) => _read(reader, ordinal);

    /// <summary>Adds a value as EF does, and returns its place holder.</summary>
    public string Add(DbCommand command, object providerValue)
    {
        var parameter = mapping.CreateParameter(command, Sql.NextName(command), ModelValue(providerValue));
        command.Parameters.Add(parameter);
        return parameter.ParameterName;
    }

    /// <summary>A value in the form that EF gives to a parameter.</summary>
    public object? ParameterValue(DbCommand command, object providerValue)
        => mapping.Converter is null && providerValue is int or long or short or string or Guid ? providerValue : mapping.CreateParameter(command, "@x", ModelValue(providerValue)).Value;

    /// <summary>Whether the property's conversion takes a value that was read from a former key.</summary>
    public bool Takes(object? providerValue)
    {
        if (providerValue is null)
        {
            return false;
        }

        try
        {
            ModelValue(providerValue);
            return true;
        }
#pragma warning disable CA1031 // A converter is the application's code, and may throw anything.
        catch (Exception)
#pragma warning restore CA1031
        {
            return false;
        }
    }

    /// <summary>Adds an empty PostgreSQL array of the column's type, and returns its place holder.</summary>
    public string AddArray(DbCommand command)
    {
        var single = (NpgsqlParameter)mapping.CreateParameter(command, "@x", null, nullable: true);
        var array = new NpgsqlParameter { ParameterName = Sql.NextName(command), Value = Array.CreateInstance(providerType, 0) };
        if (single.NpgsqlDbType != NpgsqlDbType.Unknown)
        {
            array.NpgsqlDbType = NpgsqlDbType.Array | single.NpgsqlDbType;
        }
        else if (single.DataTypeName is { } type)
        {
            array.DataTypeName = type + "[]";
        }

        command.Parameters.Add(array);
        return array.ParameterName;
    }

    /// <summary>The values of rows as an array of the provider's type.</summary>
    public Array ToArray<TRow>(TRow[] rows, Func<TRow, int, object> value, int index)
    {
        var array = Array.CreateInstance(providerType, rows.Length);
        for (var i = 0; i < rows.Length; i++)
        {
            array.SetValue(value(rows[i], index), i);
        }

        return array;
    }

    private object ModelValue(object providerValue) => mapping.Converter is { } converter ? converter.ConvertFromProvider(providerValue)! : providerValue;

    private static object ReadField<T>(DbDataReader reader, int ordinal) => reader.GetFieldValue<T>(ordinal)!;
}
