using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Reencryption;

/// <summary>
/// The SQL of one table: reads the rows of a key range that name stale keys, in key order, and writes them back by compare-and-set. Ranges are compared by the
/// database, with its own collations; the predicate is the census's.
/// </summary>
internal sealed class TableScan(EncryptedTable table, IReadOnlyList<Guid> staleKeys)
{
    private readonly string _keyList = string.Join(", ", table.Key.Select(k => k.Delimited));
    private readonly string _keyTuple = table.Key.Count == 1 ? table.Key[0].Delimited : $"({string.Join(", ", table.Key.Select(k => k.Delimited))})";

    public EncryptedTable Table => table;

    /// <summary>A boundary key: the row at an offset in key order; null behind the end.</summary>
    public async Task<object[]?> KeyAtAsync(DbConnection connection, long offset, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {_keyList} FROM {table.Delimited} ORDER BY {_keyList} LIMIT 1 OFFSET {offset.ToString(CultureInfo.InvariantCulture)}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        return await reader.ReadAsync(cancellationToken).ConfigureAwait(false) ? ReadKey(reader) : null;
    }

    public async Task<long> CountStaleAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT COUNT(*) FROM {table.Delimited} WHERE {Stale(command)}";
        command.CommandTimeout = 0;
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture);
    }

    /// <summary>The next stale rows of a range, after a key.</summary>
    public async Task<List<ScannedRow>> ReadAsync(
        DbConnection connection, object[]? low, object[]? high, object[]? after, int count, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        var conditions = new List<string> { Stale(command) };
        if (after is not null)
        {
            conditions.Add($"{_keyTuple} > {Tuple(command, after)}");
        }
        else if (low is not null)
        {
            conditions.Add($"{_keyTuple} >= {Tuple(command, low)}");
        }

        if (high is not null)
        {
            conditions.Add($"{_keyTuple} < {Tuple(command, high)}");
        }

        var columns = table.Columns.Select(c => c.Storage == EncryptedStorage.Document ? $"CAST({c.Delimited} AS TEXT)" : c.Delimited);
        command.CommandText = $"SELECT {_keyList}, {string.Join(", ", columns)} FROM {table.Delimited} WHERE {string.Join(" AND ", conditions)} ORDER BY {_keyList} LIMIT {count.ToString(CultureInfo.InvariantCulture)}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var rows = new List<ScannedRow>(count);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            var cells = new object?[table.Columns.Count];
            for (var i = 0; i < cells.Length; i++)
            {
                var ordinal = table.Key.Count + i;
                cells[i] = reader.IsDBNull(ordinal) ? null : table.Columns[i].Storage == EncryptedStorage.Binary ? Bytes(reader.GetValue(ordinal)) : reader.GetString(ordinal);
            }

            rows.Add(new ScannedRow(ReadKey(reader), cells));
        }

        return rows;
    }

    /// <summary>Writes a row's new cells where every one of them still holds what was read; false when the application was faster.</summary>
    public async Task<bool> WriteAsync(DbConnection connection, DbTransaction transaction, ScannedRow row, object?[] replacement, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        var sets = new List<string>();
        var conditions = new List<string>();
        for (var i = 0; i < table.Key.Count; i++)
        {
            conditions.Add($"{table.Key[i].Delimited} = {AddKey(command, i, row.Key[i])}");
        }

        for (var i = 0; i < table.Columns.Count; i++)
        {
            if (replacement[i] is null)
            {
                continue;
            }

            var column = table.Columns[i];
            var isJson = column.Storage == EncryptedStorage.Document && connection is Npgsql.NpgsqlConnection;
            sets.Add($"{column.Delimited} = {(isJson ? $"CAST({Add(command, replacement[i]!)} AS jsonb)" : Add(command, replacement[i]!))}");
            conditions.Add($"{(isJson ? $"CAST({column.Delimited} AS TEXT)" : column.Delimited)} = {Add(command, row.Cells[i]!)}");
        }

        command.CommandText = $"UPDATE {table.Delimited} SET {string.Join(", ", sets)} WHERE {string.Join(" AND ", conditions)}";
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false) == 1;
    }

    /// <summary>A key as JSON, for the job's tables.</summary>
    public static string? Serialize(object[]? key) => key is null ? null : JsonSerializer.Serialize(key);

    public object[]? Deserialize(string? json)
    {
        if (json is null)
        {
            return null;
        }

        using var document = JsonDocument.Parse(json);
        return [.. document.RootElement.EnumerateArray().Select((element, i) => element.Deserialize(table.Key[i].ProviderType)!)];
    }

    private string Stale(DbCommand command)
    {
        var alternatives = table.Columns.Select(column => column.Storage switch
        {
            EncryptedStorage.Binary => $"substr({column.Delimited}, 4, 16) IN ({string.Join(", ", staleKeys.Select(k => Add(command, k.ToByteArray(bigEndian: true))))})",
            EncryptedStorage.Armor => $"substr({column.Delimited}, 10, 21) IN ({string.Join(", ", staleKeys.Select(k => Add(command, CensusTaker.ArmorPrefix(k))))})",
            _ => $"({string.Join(" OR ", staleKeys.Select(k => $"CAST({column.Delimited} AS TEXT) LIKE {Add(command, LikePattern(k))} ESCAPE '!'"))})",
        });
        return $"({string.Join(" OR ", alternatives)})";
    }

    /// <summary>Finds the key id's base64 inside a document; <c>+</c> may stand escaped there, so any characters match it.</summary>
    private static string LikePattern(Guid key)
        => $"%{TextArmor.Prefix}____{CensusTaker.ArmorPrefix(key).Replace("+", "%", StringComparison.Ordinal).Replace("_", "!_", StringComparison.Ordinal)}%";

    private string Tuple(DbCommand command, object[] key)
    {
        var parts = key.Select((value, i) => AddKey(command, i, value)).ToList();
        return parts.Count == 1 ? parts[0] : $"({string.Join(", ", parts)})";
    }

    private string AddKey(DbCommand command, int index, object providerValue)
    {
        var mapping = table.Key[index].Mapping;
        var value = mapping.Converter is { } converter ? converter.ConvertFromProvider(providerValue) : providerValue;
        var name = "@k" + command.Parameters.Count.ToString(CultureInfo.InvariantCulture);
        command.Parameters.Add(mapping.CreateParameter(command, name, value));
        return name;
    }

    private static string Add(DbCommand command, object value)
    {
        var parameter = command.CreateParameter();
        parameter.ParameterName = "@v" + command.Parameters.Count.ToString(CultureInfo.InvariantCulture);
        parameter.Value = value;
        command.Parameters.Add(parameter);
        return parameter.ParameterName;
    }

    private object[] ReadKey(DbDataReader reader)
    {
        var key = new object[table.Key.Count];
        for (var i = 0; i < key.Length; i++)
        {
            key[i] = table.Key[i].Read(reader, i);
        }

        return key;
    }

    private static byte[] Bytes(object value) => value as byte[] ?? [];
}

/// <summary>A row as it was read: its key's provider values, and its encrypted columns.</summary>
internal sealed record ScannedRow(object[] Key, object?[] Cells);
