using System.Collections.Concurrent;
using System.Data.Common;
using System.Runtime.CompilerServices;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// The ring's table of columns: which column id stands in which table and column. Checked once per process, ring and model before the first value is sealed, so that a column id
/// that changed silently (a renamed class or property) is refused before it makes values unreadable.
/// </summary>
internal static class ColumnRegistry
{
    private static readonly ConditionalWeakTable<IModel, ConcurrentDictionary<KeyRing, bool>> Checked = [];

    public static ValueTask EnsureRegisteredAsync(EnvelopeSession session, IKeyRingStore store, CancellationToken cancellationToken)
        => Checked.TryGetValue(session.Context.Model, out var rings) && rings.ContainsKey(session.Ring) ? ValueTask.CompletedTask : RegisterAsync(session, store, cancellationToken);

    private static async ValueTask RegisterAsync(EnvelopeSession session, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var model = session.Context.Model;
        var table = new TableSql(model.FindEntityType(typeof(EnvelopeColumnRow))!, session.Context.GetService<ISqlGenerationHelper>());
        var declared = Declared(model);
        var ring = (RelationalKeyRingStore)store;
        await ring.RunAsync(async (connection, transaction) =>
        {
            var known = await ReadAsync(table, connection, transaction, cancellationToken).ConfigureAwait(false);
            foreach (var (place, property) in declared)
            {
                var columnId = property.FindEnvelope()!.ColumnId;
                if (known.TryGetValue(place, out var registered))
                {
                    if (registered != columnId)
                    {
                        throw new EnvelopeConfigurationException(
                            $"{property.DeclaringType.DisplayName()}.{property.Name}: column {place.Table}.{place.Column} holds values of column id '{registered}', but the model now says '{columnId}' (a renamed class or property?). Keep the id: [Encrypted(ColumnId = \"{registered}\")]. Nothing was written.")
                        {
                            Entity = property.DeclaringType.DisplayName(),
                            Property = property.Name,
                            ColumnId = registered,
                        };
                    }

                    continue;
                }

                using var insert = connection.CreateCommand();
                insert.Transaction = transaction;
                var values = new[]
                {
                    table.Add(insert, nameof(EnvelopeColumnRow.TableName), place.Table),
                    table.Add(insert, nameof(EnvelopeColumnRow.ColumnName), place.Column),
                    table.Add(insert, nameof(EnvelopeColumnRow.ColumnId), columnId),
                };
                insert.CommandText = $"INSERT INTO {table.Name} ({table.Columns(nameof(EnvelopeColumnRow.TableName), nameof(EnvelopeColumnRow.ColumnName), nameof(EnvelopeColumnRow.ColumnId))}) VALUES ({string.Join(", ", values)}) ON CONFLICT DO NOTHING";
                await insert.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
            }

            return true;
        }, cancellationToken).ConfigureAwait(false);

        if (!store.IsTransient)
        {
            Checked.GetOrCreateValue(model)[session.Ring] = true;
        }
    }

    /// <summary>Columns that other contexts over the same ring registered, and that the session's model does not hold.</summary>
    public static Task<List<(string Table, string Column)>> FindOthersAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var model = session.Context.Model;
        var table = new TableSql(model.FindEntityType(typeof(EnvelopeColumnRow))!, session.Context.GetService<ISqlGenerationHelper>());
        var declared = Declared(model);
        return ((RelationalKeyRingStore)session.OpenStore()).RunAsync(
            async (connection, transaction) => (await ReadAsync(table, connection, transaction, cancellationToken).ConfigureAwait(false)).Keys.Where(place => !declared.ContainsKey(place)).Order().ToList(), cancellationToken);
    }

    private static async Task<Dictionary<(string Table, string Column), string>> ReadAsync(TableSql table, DbConnection connection, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        var known = new Dictionary<(string, string), string>();
        using var select = connection.CreateCommand();
        select.Transaction = transaction;
        select.CommandText = $"SELECT {table.Columns(nameof(EnvelopeColumnRow.TableName), nameof(EnvelopeColumnRow.ColumnName), nameof(EnvelopeColumnRow.ColumnId))} FROM {table.Name}";
        using var reader = await select.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            known[(reader.GetString(0), reader.GetString(1))] = reader.GetString(2);
        }

        return known;
    }

    /// <summary>Envelope columns by table and column; members of JSON documents are not registered.</summary>
    private static Dictionary<(string Table, string Column), IProperty> Declared(IModel model)
    {
        var places = new Dictionary<(string, string), IProperty>();
        foreach (var table in model.GetRelationalModel().Tables)
        {
            foreach (var column in table.Columns)
            {
                foreach (var mapping in column.PropertyMappings)
                {
                    if (mapping.Property.FindEnvelope() is not null)
                    {
                        places[(table.Schema is null ? table.Name : $"{table.Schema}.{table.Name}", column.Name)] = mapping.Property;
                    }
                }
            }
        }

        return places;
    }
}
