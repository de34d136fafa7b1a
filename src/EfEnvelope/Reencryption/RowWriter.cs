using System.Data.Common;
using System.Numerics;
using EfEnvelope.Census;
using EfEnvelope.Storage;
using Npgsql;
using NpgsqlTypes;

namespace EfEnvelope.Reencryption;

/// <summary>A row with the cells that replace its stale ones; null keeps a cell.</summary>
internal sealed record RowChange(ScannedRow Row, object?[] Replacement);

/// <summary>
/// Writes a batch by compare-and-set: a row is written where every replaced cell still holds what was read, and stays as it is where the application was faster. Only replaced columns stand in the statement, so that
/// triggers on other columns do not fire. Statements are prepared once for a worker and each set of replaced columns. Used by one worker, over one connection.
/// </summary>
internal abstract class RowWriter(EncryptedTable table, DbConnection connection) : IAsyncDisposable
{
    private readonly Dictionary<BigInteger, DbCommand> _commands = [];

    /// <summary>PostgreSQL takes a batch as arrays; any other provider takes its rows one by one.</summary>
    public static RowWriter For(EncryptedTable table, DbConnection connection)
        => connection is NpgsqlConnection ? new BulkRowWriter(table, connection) : new SingleRowWriter(table, connection);

    protected EncryptedTable Table => table;

    /// <returns>How many rows were written; the others changed since they were read.</returns>
    public async Task<long> WriteAsync(DbTransaction transaction, IReadOnlyList<RowChange> changes, CancellationToken cancellationToken)
    {
        long written = 0;
        foreach (var group in changes.GroupBy(c => Replaced(c.Replacement)))
        {
            var columns = Enumerable.Range(0, table.Columns.Count).Where(i => !((group.Key >> i) & 1).IsZero).ToArray();
            RowChange[] rows = [.. group];
            if (!_commands.TryGetValue(group.Key, out var command))
            {
                command = connection.CreateCommand();
                _commands[group.Key] = command;
                Describe(command, columns, rows[0]);
                command.Transaction = transaction;
                await command.PrepareAsync(cancellationToken).ConfigureAwait(false);
            }

            command.Transaction = transaction;
            written += await ExecuteAsync(command, columns, rows, cancellationToken).ConfigureAwait(false);
        }

        return written;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var command in _commands.Values)
        {
            await command.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Writes the statement and its parameters, keys first, then old and new value of each column.</summary>
    protected abstract void Describe(DbCommand command, int[] columns, RowChange example);

    protected abstract Task<long> ExecuteAsync(DbCommand command, int[] columns, RowChange[] rows, CancellationToken cancellationToken);

    private static BigInteger Replaced(object?[] replacement)
    {
        var low = 0UL;
        for (var i = 0; i < Math.Min(64, replacement.Length); i++)
        {
            low |= replacement[i] is null ? 0 : 1UL << i;
        }

        BigInteger set = low;
        for (var i = 64; i < replacement.Length; i++)
        {
            set |= replacement[i] is null ? BigInteger.Zero : BigInteger.One << i;
        }

        return set;
    }

    private sealed class BulkRowWriter(EncryptedTable table, DbConnection connection) : RowWriter(table, connection)
    {
        /// <summary>
        /// Stands before each statement, for its transaction only: a nested loop alone takes the rows in the order of the arrays, which is that of the primary key, so that rows are locked in one order by all workers, and by
        /// an application that keeps to it.
        /// </summary>
        private const string InOrder = "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true); ";

        protected override void Describe(DbCommand command, int[] columns, RowChange example)
        {
            List<string> sources = [], sets = [], conditions = [];
            for (var i = 0; i < Table.Key.Count; i++)
            {
                var key = Table.Key[i];
                var name = key.AddArray(command);
                sources.Add($"unnest(CAST({name} AS {key.Mapping.StoreType}[])) AS k{i}");
                conditions.Add($"t.{key.Delimited} = v.k{i}");
            }

            foreach (var i in columns)
            {
                var column = Table.Columns[i];
                var (type, none) = column.Storage == EncryptedStorage.Binary ? (NpgsqlDbType.Bytea, (Array)Array.Empty<byte[]>()) : (NpgsqlDbType.Text, Array.Empty<string>());
                sources.Add($"unnest({Sql.AddArray(command, type, none)}) AS o{i}");
                sources.Add($"unnest({Sql.AddArray(command, type, none)}) AS n{i}");
                var isDocument = column.Storage == EncryptedStorage.Document;
                sets.Add($"{column.Delimited} = {(isDocument ? $"CAST(v.n{i} AS {column.StoreType})" : $"v.n{i}")}");
                conditions.Add($"{(isDocument ? $"CAST(t.{column.Delimited} AS TEXT)" : $"t.{column.Delimited}")} = v.o{i}");
            }

            // Set-returning functions of a select list are streamed; in FROM, each array would first be stored as a table of its own.
            command.CommandText = $"{InOrder}UPDATE {Table.Delimited} AS t SET {string.Join(", ", sets)} FROM (SELECT {string.Join(", ", sources)}) AS v WHERE {string.Join(" AND ", conditions)}";
        }

        protected override async Task<long> ExecuteAsync(DbCommand command, int[] columns, RowChange[] rows, CancellationToken cancellationToken)
        {
            for (var i = 0; i < Table.Key.Count; i++)
            {
                command.Parameters[i].Value = Table.Key[i].ToArray(rows, (row, at) => row.Row.Key[at], i);
            }

            for (var n = 0; n < columns.Length; n++)
            {
                var i = columns[n];
                var (old, replacement) = Table.Columns[i].Storage == EncryptedStorage.Binary
                    ? ((Array)Array.ConvertAll(rows, r => (byte[])r.Row.Cells[i]!), (Array)Array.ConvertAll(rows, r => (byte[])r.Replacement[i]!))
                    : (Array.ConvertAll(rows, r => (string)r.Row.Cells[i]!), Array.ConvertAll(rows, r => (string)r.Replacement[i]!));
                command.Parameters[Table.Key.Count + (2 * n)].Value = old;
                command.Parameters[Table.Key.Count + (2 * n) + 1].Value = replacement;
            }

            return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private sealed class SingleRowWriter(EncryptedTable table, DbConnection connection) : RowWriter(table, connection)
    {
        protected override void Describe(DbCommand command, int[] columns, RowChange example)
        {
            List<string> sets = [], conditions = [];
            for (var i = 0; i < Table.Key.Count; i++)
            {
                conditions.Add($"{Table.Key[i].Delimited} = {Table.Key[i].Add(command, example.Row.Key[i])}");
            }

            foreach (var i in columns)
            {
                conditions.Add($"{Table.Columns[i].Delimited} = {Sql.Add(command, example.Row.Cells[i]!)}");
                sets.Add($"{Table.Columns[i].Delimited} = {Sql.Add(command, example.Replacement[i]!)}");
            }

            command.CommandText = $"UPDATE {Table.Delimited} SET {string.Join(", ", sets)} WHERE {string.Join(" AND ", conditions)}";
        }

        protected override async Task<long> ExecuteAsync(DbCommand command, int[] columns, RowChange[] rows, CancellationToken cancellationToken)
        {
            long written = 0;
            foreach (var row in rows)
            {
                for (var i = 0; i < Table.Key.Count; i++)
                {
                    command.Parameters[i].Value = Table.Key[i].ParameterValue(command, row.Row.Key[i]);
                }

                for (var n = 0; n < columns.Length; n++)
                {
                    command.Parameters[Table.Key.Count + (2 * n)].Value = row.Row.Cells[columns[n]];
                    command.Parameters[Table.Key.Count + (2 * n) + 1].Value = row.Replacement[columns[n]];
                }

                written += await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
            }

            return written;
        }
    }
}
