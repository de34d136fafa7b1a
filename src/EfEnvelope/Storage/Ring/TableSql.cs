using System.Data.Common;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage.Ring;

/// <summary>Names and parameters of one mapped table, from the model: nothing about a table is spelled out in SQL.</summary>
internal sealed class TableSql
{
    private readonly ISqlGenerationHelper _sql;
    private readonly Dictionary<string, (IProperty Property, RelationalTypeMapping Mapping)> _properties;
    private readonly StoreObjectIdentifier _table;

    public TableSql(IEntityType entityType, ISqlGenerationHelper sql)
    {
        _sql = sql;
        _table = StoreObjectIdentifier.Create(entityType, StoreObjectType.Table)
            ?? throw new EnvelopeConfigurationException($"{entityType.DisplayName()} is not mapped to a table.");
        Name = sql.DelimitIdentifier(_table.Name, _table.Schema);
        PlainName = _table.Schema is null ? _table.Name : $"{_table.Schema}.{_table.Name}";
        _properties = entityType.GetProperties().ToDictionary(p => p.Name, p => (p, (RelationalTypeMapping)p.GetTypeMapping()), StringComparer.Ordinal);
    }

    /// <summary>Delimited.</summary>
    public string Name { get; }

    public string PlainName { get; }

    /// <summary>The property's column, delimited.</summary>
    public string this[string property] => _sql.DelimitIdentifier(_properties[property].Property.GetColumnName(_table)!);

    public string Columns(params IEnumerable<string> properties) => string.Join(", ", properties.Select(p => this[p]));

    /// <summary>Adds a parameter with the property's type mapping and returns its place holder.</summary>
    public string Add(DbCommand command, string property, object? value)
    {
        var name = "p" + command.Parameters.Count.ToString(System.Globalization.CultureInfo.InvariantCulture);
        var mapping = _properties[property].Mapping;
        command.Parameters.Add(mapping.CreateParameter(command, _sql.GenerateParameterName(name), value, nullable: true));
        return _sql.GenerateParameterNamePlaceholder(name);
    }

    /// <summary>
    /// A condition that the property is one of many values: by one array on PostgreSQL, by one JSON document on SQLite, which looks for each parameter's name among all of them; by a list of parameters
    /// elsewhere, and where the model converts the values.
    /// </summary>
    public string In<T>(DbCommand command, string property, T[] values)
        where T : notnull
    {
        var mapping = _properties[property].Mapping;
        var isText = typeof(T) == typeof(string);
        if (mapping.Converter is null && (isText || typeof(T) == typeof(Guid)))
        {
            if (command is Npgsql.NpgsqlCommand)
            {
                return $"{this[property]} = ANY({Sql.AddArray(command, isText ? NpgsqlTypes.NpgsqlDbType.Text : NpgsqlTypes.NpgsqlDbType.Uuid, values)})";
            }

            if (command.GetType().Name == "SqliteCommand" && string.Equals(mapping.StoreType, "TEXT", StringComparison.OrdinalIgnoreCase))
            {
                var document = values is Guid[] ids ? Json(ids) : JsonSerializer.Serialize(values);
                return $"{this[property]} IN (SELECT value FROM json_each({Sql.Add(command, document)}))";
            }
        }

        return $"{this[property]} IN ({string.Join(", ", values.Select(v => Add(command, property, v)))})";
    }

    /// <summary>Reads a column with the property's type mapping.</summary>
    public T Read<T>(DbDataReader reader, int ordinal, string property)
    {
        if (reader.IsDBNull(ordinal))
        {
            return default!;
        }

        var mapping = _properties[property].Mapping;
        if (mapping.Converter is null && mapping.ClrType == typeof(T))
        {
            return reader.GetFieldValue<T>(ordinal);
        }

        var raw = mapping.ClrType == typeof(Guid) && mapping.Converter is null ? reader.GetGuid(ordinal)
            : mapping.ClrType == typeof(int) ? reader.GetInt32(ordinal)
            : mapping.ClrType == typeof(long) ? reader.GetInt64(ordinal)
            : mapping.ClrType == typeof(byte[]) ? reader.GetFieldValue<byte[]>(ordinal)
            : mapping.ClrType == typeof(string) ? reader.GetString(ordinal)
            : reader.GetValue(ordinal);
        if (mapping.Converter is { } converter)
        {
            raw = converter.ConvertFromProvider(raw)!;
        }

        return (T)raw;
    }

    /// <summary>A list of ids as SQLite's provider writes them: in upper case.</summary>
    private static string Json(Guid[] ids)
        => string.Create((ids.Length * 39) + 1, ids, static (text, values) =>
        {
            text[0] = '[';
            for (var i = 0; i < values.Length; i++)
            {
                var item = text.Slice(1 + (i * 39), 39);
                item[0] = item[37] = '"';
                values[i].TryFormat(item[1..], out _);
                for (var c = 1; c < 37; c++)
                {
                    item[c] = char.ToUpperInvariant(item[c]);
                }

                item[38] = i == values.Length - 1 ? ']' : ',';
            }
        });

    /// <summary>An INSERT of one row, with its parameters added to the command.</summary>
    public string Insert(DbCommand command, params (string Property, object? Value)[] values)
        => $"INSERT INTO {Name} ({Columns(values.Select(v => v.Property))}) VALUES ({string.Join(", ", values.Select(v => Add(command, v.Property, v.Value)))})";

    /// <summary>Assignments for a SET clause.</summary>
    public string Set(DbCommand command, params (string Property, object? Value)[] values)
        => string.Join(", ", values.Select(v => $"{this[v.Property]} = {Add(command, v.Property, v.Value)}"));

    /// <summary>Comparisons for a WHERE clause; none of the values is null.</summary>
    public string Where(DbCommand command, params (string Property, object Value)[] values)
        => string.Join(" AND ", values.Select(v => $"{this[v.Property]} = {Add(command, v.Property, v.Value)}"));

    /// <summary>Runs a statement that <paramref name="sql"/> writes.</summary>
    public static async Task<int> ExecuteAsync(DbConnection connection, DbTransaction? transaction, Func<DbCommand, string> sql, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql(command);
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
    }
}
