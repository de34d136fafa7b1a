using System.Data.Common;
using EfEnvelope.Census;

namespace EfEnvelope.Reencryption;

/// <summary>Reads a range in batches, in key order: one prepared command, whose lower bound moves on. Used by one worker.</summary>
/// <param name="scan">The table's SQL.</param>
/// <param name="command">The command.</param>
/// <param name="movesOn">Whether the command's lower bound is exclusive: the key behind which a batch begins.</param>
/// <param name="keyAt">The first parameter of the lower bound.</param>
/// <param name="count">Rows of a batch.</param>
internal sealed class RangeReader(TableScan scan, DbCommand command, bool movesOn, int keyAt, int count) : IAsyncDisposable
{
    /// <summary>A batch is cut off behind so many bytes of cells, so that a process's memory does not grow with the size of values.</summary>
    private const long MaxBytes = 16 * 1024 * 1024;

    /// <summary>Whether <see cref="MoveTo"/> can be called: the first batch of a unit begins at an inclusive bound, or at none.</summary>
    public bool MovesOn => movesOn;

    /// <summary>The next batch begins behind this key.</summary>
    public void MoveTo(object[] after)
    {
        for (var i = 0; i < after.Length; i++)
        {
            command.Parameters[keyAt + i].Value = scan.Table.Key[i].ParameterValue(command, after[i]);
        }
    }

    /// <summary>The next rows, as the database has filtered them.</summary>
    public async Task<ScannedBatch> ReadAsync(CancellationToken cancellationToken)
    {
        var table = scan.Table;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var rows = new List<ScannedRow>(count);
        object[]? last = null;
        var read = 0;
        long bytes = 0;
        while (bytes < MaxBytes && await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            read++;
            last = scan.ReadKey(reader);
            var cells = new object?[table.Columns.Count];
            for (var i = 0; i < cells.Length; i++)
            {
                var ordinal = table.Key.Count + i;
                cells[i] = reader.IsDBNull(ordinal) ? null : table.Columns[i].Storage == EncryptedStorage.Binary ? Bytes(reader, ordinal) : reader.GetString(ordinal);
                bytes += cells[i] switch { byte[] binary => binary.Length, string text => 2 * text.Length, _ => 0 };
            }

            rows.Add(new ScannedRow(last, cells));
        }

        return new ScannedBatch(rows, last, read < count && bytes < MaxBytes);
    }

    public ValueTask DisposeAsync() => command.DisposeAsync();

    /// <summary>SQLite lets a column hold any storage class: what is no blob is no envelope.</summary>
    private static byte[] Bytes(DbDataReader reader, int ordinal)
        => reader.GetFieldType(ordinal) == typeof(byte[]) ? reader.GetFieldValue<byte[]>(ordinal) : reader.GetValue(ordinal) as byte[] ?? [];
}
