using System.Data.Common;
using System.Globalization;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Writing;

/// <summary>One of the tables that a row of an entity type stands in, with those of the wanted properties that it holds: its columns' names and parameters, from the model.</summary>
internal sealed class RowTable
{
    private readonly ITable _table;
    private readonly IReadOnlyList<IProperty> _key;
    private readonly ISqlGenerationHelper _sql;

    private RowTable(ITable table, IEntityType type, IReadOnlyList<IProperty> properties, ISqlGenerationHelper sql)
    {
        (_table, _sql) = (table, sql);
        _key = type.FindPrimaryKey()!.Properties;
        Properties = properties;
        Name = sql.DelimitIdentifier(table.Name, table.Schema);
    }

    /// <summary>Delimited.</summary>
    public string Name { get; }

    /// <summary>The wanted properties that the table holds.</summary>
    public IReadOnlyList<IProperty> Properties { get; }

    /// <summary>The tables of the row's own type (of a hierarchy's root, of its own, of a split entity's parts) that hold the properties, each property once.</summary>
    public static IReadOnlyList<RowTable> Of(IEntityType type, IEnumerable<IProperty> properties, ISqlGenerationHelper sql)
    {
        var wanted = properties.ToList();
        var tables = new List<RowTable>();
        foreach (var table in type.GetTableMappings().Select(m => m.Table))
        {
            var held = wanted.Where(p => table.FindColumn(p) is not null).ToList();
            if (held.Count > 0)
            {
                tables.Add(new RowTable(table, type, held, sql));
                wanted.RemoveAll(held.Contains);
            }
        }

        return tables;
    }

    /// <summary>The property's column, delimited.</summary>
    public string Column(IProperty property) => _sql.DelimitIdentifier(_table.FindColumn(property)!.Name);

    /// <summary>Comparisons of the primary key, and of other properties, with values; their parameters are added to the command.</summary>
    public string Condition(DbCommand command, Func<IProperty, object?> value, IEnumerable<IProperty> others)
        => string.Join(" AND ", _key.Concat(others).Select(p => $"{Column(p)} = {Add(command, p, value(p))}"));

    /// <summary>How many rows of the table meet one of the conditions.</summary>
    /// <param name="context">The context.</param>
    /// <param name="rows">What the conditions are made of: at most a hundred at once.</param>
    /// <param name="condition">A row's condition; its parameters are added to the command.</param>
    /// <param name="cancellationToken">Cancels the query.</param>
    public Task<long> CountAsync<T>(DbContext context, IEnumerable<T> rows, Func<DbCommand, T, string> condition, CancellationToken cancellationToken)
        => AskAsync(
            context,
            async command =>
            {
                command.CommandText = $"SELECT COUNT(*) FROM {Name} WHERE {string.Join(" OR ", rows.Select(r => $"({condition(command, r)})"))}";
                return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture);
            },
            cancellationToken);

    /// <summary>Asks the database on the context's own connection, in its transaction.</summary>
    public static async Task<T> AskAsync<T>(DbContext context, Func<DbCommand, Task<T>> ask, CancellationToken cancellationToken)
    {
        await context.Database.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            using var command = context.Database.GetDbConnection().CreateCommand();
            command.Transaction = context.Database.CurrentTransaction?.GetDbTransaction();
            return await ask(command).ConfigureAwait(false);
        }
        finally
        {
            await context.Database.CloseConnectionAsync().ConfigureAwait(false);
        }
    }

    /// <summary>A Guid in the form in which the property's column holds it; empty where that is NULL.</summary>
    public static Guid ReadGuid(DbDataReader reader, int ordinal, IProperty property)
    {
        if (reader.IsDBNull(ordinal))
        {
            return Guid.Empty;
        }

        return property.GetTypeMapping().Converter is { } converter ? (Guid)converter.ConvertFromProvider(reader.GetValue(ordinal))! : reader.GetGuid(ordinal);
    }

    private static string Add(DbCommand command, IProperty property, object? value)
    {
        var parameter = ((RelationalTypeMapping)property.GetTypeMapping()).CreateParameter(command, Sql.NextName(command), value, nullable: true);
        command.Parameters.Add(parameter);
        return parameter.ParameterName;
    }
}
