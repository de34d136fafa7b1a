using System.Globalization;
using System.Text;
using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Functional;

/// <summary>What really stands in the tables, read by raw ADO.NET: every encrypted column holds an envelope under a known key or NULL, and no row holds a canary.</summary>
public static class StoredCells
{
    /// <summary>The number of envelopes found.</summary>
    public static async Task<int> AssertSealedAsync(TestDatabase database, DbContext context, params string[] canaries)
    {
        var scopes = await KeysAsync(database);
        var found = 0;
        foreach (var table in context.Model.GetRelationalModel().Tables.Where(t => t.EntityTypeMappings.All(m => m.TypeBase is not IEntityType type || !type.IsRingTable())))
        {
            var encrypted = table.Columns.Where(c => c.PropertyMappings.Any(m => m.Property.FindEnvelope() is not null)).ToDictionary(c => c.Name, c => c.PropertyMappings.First(m => m.Property.FindEnvelope() is not null).Property.FindEnvelope()!);
            foreach (var row in await RowsAsync(database, table))
            {
                foreach (var (column, value) in row)
                {
                    AssertNoCanary(value, canaries, $"{table.Name}.{column}");
                    if (encrypted.TryGetValue(column, out var declaration) && value is not null)
                    {
                        var envelope = declaration.Armored ? TextArmor.Decode(Assert.IsType<string>(value)) : Assert.IsType<byte[]>(value);
                        Assert.True(envelope.Length >= 55 && envelope[0] == 0xC1, $"{table.Name}.{column} is no envelope");
                        Assert.True(EnvelopeCodec.TryReadKeyId(envelope, out var keyId), $"{table.Name}.{column}");
                        Assert.True(scopes.ContainsKey(keyId), $"{table.Name}.{column}: key {keyId} is not in the ring");
                        Assert.True(declaration.AcceptsScope(scopes[keyId]), $"{table.Name}.{column}: scope {scopes[keyId]}");
                        found++;
                    }
                }
            }
        }

        return found;
    }

    /// <summary>Pairs of the key's scope and the value of another column of the same row.</summary>
    public static async Task<List<(string Scope, string Other)>> ScopesAsync(TestDatabase database, string table, string column, string other)
    {
        var scopes = await KeysAsync(database);
        var pairs = new List<(string, string)>();
        await using var connection = database.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"{column}\", \"{other}\" FROM \"{table}\" WHERE \"{column}\" IS NOT NULL";
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            var cell = reader.GetValue(0);
            Assert.True(EnvelopeCodec.TryReadKeyId(cell is string armor ? TextArmor.Decode(armor) : (byte[])cell, out var keyId));
            pairs.Add((scopes[keyId], Convert.ToString(reader.GetValue(1), CultureInfo.InvariantCulture)!));
        }

        return pairs;
    }

    public static async Task<long> CountAsync(TestDatabase database, string table) => Convert.ToInt64(await database.ScalarAsync($"SELECT COUNT(*) FROM \"{table}\""));

    /// <summary>The scope of every key in the ring, row keys too.</summary>
    private static async Task<Dictionary<Guid, string>> KeysAsync(TestDatabase database)
    {
        await using var connection = database.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = "SELECT \"Id\", \"Scope\" FROM \"EnvelopeKeys\"";
        await using var reader = await command.ExecuteReaderAsync();
        var keys = new Dictionary<Guid, string>();
        while (await reader.ReadAsync())
        {
            keys.Add(reader.GetGuid(0), reader.GetString(1));
        }

        return keys;
    }

    private static async Task<List<Dictionary<string, object?>>> RowsAsync(TestDatabase database, ITable table)
    {
        await using var connection = database.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT * FROM {(table.Schema is null ? "" : $"\"{table.Schema}\".")}\"{table.Name}\"";
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<Dictionary<string, object?>>();
        while (await reader.ReadAsync())
        {
            rows.Add(Enumerable.Range(0, reader.FieldCount).ToDictionary(reader.GetName, i => reader.IsDBNull(i) ? null : reader.GetValue(i)));
        }

        return rows;
    }

    private static void AssertNoCanary(object? value, string[] canaries, string place)
    {
        var text = value switch { null => "", byte[] bytes => Encoding.UTF8.GetString(bytes) + Encoding.Latin1.GetString(bytes), Array array => string.Join('|', array.Cast<object?>()), _ => Convert.ToString(value, CultureInfo.InvariantCulture)! };
        foreach (var canary in canaries)
        {
            Assert.False(text.Contains(canary, StringComparison.Ordinal), $"{place} holds plaintext");
        }
    }
}
