using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.Census;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope.Reencryption;

/// <summary>
/// The SQL of one table: unit boundaries, and the rows of a key range that may name stale keys, in key order. Ranges are computed and compared by the database, with its own collations; the predicate is the census's.
/// </summary>
internal sealed class TableScan(EncryptedTable table, StaleFilter filter)
{
    /// <summary>Tables above this size are sampled for unit boundaries, a hundred rows for each unit; smaller ones are walked through once, along their key.</summary>
    private const long SampleAbove = 200_000;

    private readonly string _keyList = string.Join(", ", table.Key.Select(k => k.Delimited));
    private readonly string _keyTuple = table.Key.Count == 1 ? table.Key[0].Delimited : $"({string.Join(", ", table.Key.Select(k => k.Delimited))})";

    public EncryptedTable Table => table;

    public StaleFilter Filter => filter;

    /// <summary>The first keys of all units but the first, in the database's order: about <paramref name="unitSize"/> rows lie between two.</summary>
    public async Task<List<object[]>> FindBoundariesAsync(DbConnection connection, int unitSize, CancellationToken cancellationToken)
    {
        if (connection is not Npgsql.NpgsqlConnection)
        {
            return await FindBoundariesAsync(connection, null, unitSize, cancellationToken).ConfigureAwait(false);
        }

        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            await TableSql.ExecuteAsync(connection, transaction, _ => Sql.NoTimeouts(connection), cancellationToken).ConfigureAwait(false);
            return await FindBoundariesAsync(connection, transaction, unitSize, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<List<object[]>> FindBoundariesAsync(DbConnection connection, DbTransaction? transaction, int unitSize, CancellationToken cancellationToken)
    {
        var (source, every) = (table.Delimited, (long)unitSize);
        if (connection is Npgsql.NpgsqlConnection && await EstimateAsync(connection, cancellationToken).ConfigureAwait(false) is > SampleAbove and var rows)
        {
            // A sample by pages: a hundred rows a unit are drawn, so that units differ by a tenth or so in size. Ends are open, so no row is missed.
            var percent = Math.Min(100, 100d * 100 / unitSize);
            (source, every) = (string.Create(CultureInfo.InvariantCulture, $"{table.Delimited} TABLESAMPLE SYSTEM ({percent:0.####})"), Math.Max(1, (long)(unitSize * percent / 100)));
        }

        using var command = connection.CreateCommand();
        command.CommandText = string.Create(CultureInfo.InvariantCulture, $"SELECT {_keyList} FROM (SELECT {_keyList}, row_number() OVER (ORDER BY {_keyList}) AS efenvelope_row FROM {source}) AS numbered WHERE efenvelope_row % {every} = 0 AND efenvelope_row > 0 ORDER BY {_keyList}");
        command.Transaction = transaction;
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var keys = new List<object[]>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            keys.Add(ReadKey(reader));
        }

        return keys;
    }

    /// <summary>A command that reads the next rows of a range; prepared where the provider gains by it, and used for every batch of the unit.</summary>
    public async Task<RangeReader> OpenRangeAsync(DbConnection connection, object[]? low, object[]? high, object[]? after, int count, CancellationToken cancellationToken)
    {
        var command = connection.CreateCommand();
        var start = after ?? low;
        var conditions = new List<string> { filter.Condition(command) };
        var keyAt = command.Parameters.Count;
        if (start is not null)
        {
            conditions.Add($"{_keyTuple} {(after is null ? ">=" : ">")} {Tuple(command, start)}");
        }

        if (high is not null)
        {
            conditions.Add($"{_keyTuple} < {Tuple(command, high)}");
        }

        return await PrepareAsync(command, conditions, after is not null, keyAt, count, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads one row, where it may name a stale key.</summary>
    public Task<RangeReader> OpenRowAsync(DbConnection connection, object[] key, CancellationToken cancellationToken)
    {
        var command = connection.CreateCommand();
        return PrepareAsync(command, [filter.Condition(command), $"{_keyTuple} = {Tuple(command, key)}"], movesOn: false, 0, count: 1, cancellationToken);
    }

    /// <summary>Reads some rows, where they may name a stale key. Not prepared: their number differs.</summary>
    public RangeReader OpenRows(DbConnection connection, DbTransaction? transaction, IReadOnlyList<object[]> keys)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        var condition = filter.Condition(command);
        var rows = table.Key.Count == 1
            ? $"{_keyTuple} IN ({string.Join(", ", keys.Select(k => table.Key[0].Add(command, k[0])))})"
            : string.Join(" OR ", keys.Select(key => $"({string.Join(" AND ", key.Select((value, i) => $"{table.Key[i].Delimited} = {table.Key[i].Add(command, value)}"))})"));
        Describe(command, [condition, $"({rows})"], keys.Count + 1);
        return new RangeReader(this, command, movesOn: false, 0, keys.Count + 1);
    }

    private async Task<RangeReader> PrepareAsync(DbCommand command, IReadOnlyList<string> conditions, bool movesOn, int keyAt, int count, CancellationToken cancellationToken)
    {
        Describe(command, conditions, count);
        await command.PrepareAsync(cancellationToken).ConfigureAwait(false);
        return new RangeReader(this, command, movesOn, keyAt, count);
    }

    private void Describe(DbCommand command, IReadOnlyList<string> conditions, int count)
    {
        var columns = table.Columns.Select(c => c.Storage == EncryptedStorage.Document ? $"CAST({c.Delimited} AS TEXT)" : c.Delimited);
        command.CommandText = $"SELECT {_keyList}, {string.Join(", ", columns)} FROM {table.Delimited} WHERE {string.Join(" AND ", conditions)} ORDER BY {_keyList} LIMIT {count.ToString(CultureInfo.InvariantCulture)}";
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

    /// <summary>A key as it was written down; false where the table's primary key is another one since: of other columns, or one whose conversion, which may throw anything, does not take the former values.</summary>
    public bool TryDeserialize(string json, out object[] key)
    {
        try
        {
            key = Deserialize(json)!;
            return key.Length == table.Key.Count && !key.Where((value, i) => !table.Key[i].Takes(value)).Any();
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException or ArgumentOutOfRangeException)
        {
            key = [];
            return false;
        }
    }

    internal object[] ReadKey(DbDataReader reader)
    {
        var key = new object[table.Key.Count];
        for (var i = 0; i < key.Length; i++)
        {
            key[i] = table.Key[i].Read(reader, i);
        }

        return key;
    }

    /// <summary>Rows by the planner's statistics; null for what is no plain table (it cannot be sampled), or was never analysed.</summary>
    private async Task<long?> EstimateAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass({Sql.Add(command, table.Delimited)}) AND relkind = 'r'";
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is long rows and > 0 ? rows : null;
    }

    private string Tuple(DbCommand command, object[] key)
    {
        var parts = key.Select((value, i) => table.Key[i].Add(command, value)).ToList();
        return parts.Count == 1 ? parts[0] : $"({string.Join(", ", parts)})";
    }
}

/// <summary>A row as it was read: its key's provider values, and its encrypted columns.</summary>
internal sealed record ScannedRow(object[] Key, object?[] Cells);

/// <summary>Rows of a batch; where the reading stands behind it; whether the range is read to its end.</summary>
internal sealed record ScannedBatch(List<ScannedRow> Rows, object[]? Last, bool IsLast);
