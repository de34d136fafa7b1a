using System.Data.Common;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>The list of cells that could not be opened.</summary>
internal sealed class QuarantineStore
{
    /// <summary>Entries of one statement.</summary>
    private const int ChunkSize = 100;

    /// <summary>Entries that are looked at together.</summary>
    private const int PageSize = 500;

    private static readonly string[] Updated = [nameof(EnvelopeQuarantineRow.JobId), nameof(EnvelopeQuarantineRow.RunId), nameof(EnvelopeQuarantineRow.KeyId), nameof(EnvelopeQuarantineRow.Reason)];

    private static readonly string[] Inserted =
    [
        nameof(EnvelopeQuarantineRow.Id), nameof(EnvelopeQuarantineRow.TableName), nameof(EnvelopeQuarantineRow.ColumnName), nameof(EnvelopeQuarantineRow.PrimaryKey), nameof(EnvelopeQuarantineRow.FirstSeenAt), nameof(EnvelopeQuarantineRow.Digest),
        .. Updated,
    ];

    private static readonly string[] Read =
    [
        nameof(EnvelopeQuarantineRow.Id), nameof(EnvelopeQuarantineRow.JobId), nameof(EnvelopeQuarantineRow.TableName), nameof(EnvelopeQuarantineRow.ColumnName), nameof(EnvelopeQuarantineRow.PrimaryKey),
        nameof(EnvelopeQuarantineRow.KeyId), nameof(EnvelopeQuarantineRow.Reason), nameof(EnvelopeQuarantineRow.FirstSeenAt),
        nameof(EnvelopeQuarantineRow.ReleasedAt), nameof(EnvelopeQuarantineRow.ReleaseReason),
    ];

    private readonly TableSql _table;
    private readonly TimeProvider _time;

    public QuarantineStore(EnvelopeSession session)
    {
        _table = new TableSql(session.Context.Model.FindEntityType(typeof(EnvelopeQuarantineRow))!, session.Context.GetService<ISqlGenerationHelper>());
        _time = session.Runtime.TimeProvider;
    }

    /// <summary>Lists cells, each once: what another worker or an earlier run listed says since when, and keeps its release.</summary>
    /// <returns>How many of them this run had not listed before.</returns>
    public async Task<int> AddAsync(DbConnection connection, DbTransaction? transaction, Guid jobId, Guid runId, IReadOnlyCollection<PoisonedCell> cells, CancellationToken cancellationToken)
    {
        var fresh = 0;
        var now = _time.GetUtcNow().UtcTicks;

        // In one order, so that two runs that list the same cells do not wait for each other.
        foreach (var chunk in cells.Select(c => (Cell: c, Digest: DigestOf(c.Table, c.Column, c.PrimaryKey))).OrderBy(c => Convert.ToHexString(c.Digest), StringComparer.Ordinal).Chunk(ChunkSize))
        {
            fresh += chunk.Length - await CountOfRunAsync(connection, transaction, runId, [.. chunk.Select(c => c.Digest)], cancellationToken).ConfigureAwait(false);
            await TableSql.ExecuteAsync(
                connection,
                transaction,
                command =>
                {
                    var rows = chunk.Select(c => $"({string.Join(", ", Values(c.Cell, c.Digest).Select(v => _table.Add(command, v.Property, v.Value)))})").ToList();
                    var updates = Updated.Select(property => $"{_table[property]} = excluded.{_table[property]}");
                    return $"INSERT INTO {_table.Name} ({_table.Columns(Inserted)}) VALUES {string.Join(", ", rows)} ON CONFLICT ({_table[nameof(EnvelopeQuarantineRow.Digest)]}) DO UPDATE SET {string.Join(", ", updates)}";
                },
                cancellationToken).ConfigureAwait(false);
        }

        return fresh;

        (string Property, object? Value)[] Values(PoisonedCell cell, byte[] digest) =>
        [
            (nameof(EnvelopeQuarantineRow.Id), Guid.NewGuid()), (nameof(EnvelopeQuarantineRow.TableName), cell.Table), (nameof(EnvelopeQuarantineRow.ColumnName), cell.Column),
            (nameof(EnvelopeQuarantineRow.PrimaryKey), cell.PrimaryKey), (nameof(EnvelopeQuarantineRow.FirstSeenAt), now), (nameof(EnvelopeQuarantineRow.Digest), digest),
            (nameof(EnvelopeQuarantineRow.JobId), jobId), (nameof(EnvelopeQuarantineRow.RunId), runId), (nameof(EnvelopeQuarantineRow.KeyId), cell.KeyId), (nameof(EnvelopeQuarantineRow.Reason), cell.Reason),
        ];
    }

    private async Task<int> CountOfRunAsync(DbConnection connection, DbTransaction? transaction, Guid runId, byte[][] digests, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = $"SELECT COUNT(*) FROM {_table.Name} WHERE {_table[nameof(EnvelopeQuarantineRow.Digest)]} IN ({string.Join(", ", digests.Select(d => _table.Add(command, nameof(EnvelopeQuarantineRow.Digest), d)))}) AND {_table.Where(command, (nameof(EnvelopeQuarantineRow.RunId), runId))}";
        return Convert.ToInt32(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture);
    }

    /// <summary>
    /// Gives entries that a former version made their digest, and takes the second one of a cell off the list: released ones come first, so that a decision is kept. A page at a time, each committed by itself: nobody waits for the whole.
    /// </summary>
    /// <returns>How many entries there were.</returns>
    public async Task<int> AdoptAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        if (!await HasFormerAsync(connection, cancellationToken).ConfigureAwait(false))
        {
            return 0;
        }

        var adopted = 0;
        foreach (var isReleased in new[] { true, false })
        {
            object? after = null;
            while (await ReadPageAsync(connection, after, cancellationToken).ConfigureAwait(false) is { Count: > 0 } page)
            {
                after = page[^1].Place;
                var former = page.FindAll(e => e.IsFormer && e.Cell.ReleasedAt is not null == isReleased);
                if (former.Count > 0)
                {
                    await AdoptAsync(connection, former, cancellationToken).ConfigureAwait(false);
                    adopted += former.Count;
                }
            }
        }

        return adopted;
    }

    private async Task<bool> HasFormerAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT 1 FROM {_table.Name} WHERE {_table[nameof(EnvelopeQuarantineRow.Digest)]} IS NULL LIMIT 1";
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is not null;
    }

    /// <summary>They were read before the transaction, so that it is short: what another job adopted meanwhile stays as it is.</summary>
    private async Task AdoptAsync(DbConnection connection, List<QuarantineEntry> former, CancellationToken cancellationToken)
    {
        var (id, digest, firstSeen) = (_table[nameof(EnvelopeQuarantineRow.Id)], _table[nameof(EnvelopeQuarantineRow.Digest)], _table[nameof(EnvelopeQuarantineRow.FirstSeenAt)]);
        var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            if (connection is Npgsql.NpgsqlConnection)
            {
                await TableSql.ExecuteAsync(connection, transaction, _ => $"LOCK TABLE {_table.Name} IN SHARE ROW EXCLUSIVE MODE", cancellationToken).ConfigureAwait(false);
            }

            foreach (var entry in former)
            {
                var value = DigestOf(entry.Cell.Table, entry.Cell.Column, entry.Cell.PrimaryKey);
                var isFirst = await TableSql.ExecuteAsync(connection, transaction, command =>
                    $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.Digest), value))} WHERE {id} = {Sql.Add(command, entry.Place)} AND {digest} IS NULL AND NOT EXISTS (SELECT 1 FROM {_table.Name} AS o WHERE o.{digest} = {_table.Add(command, nameof(EnvelopeQuarantineRow.Digest), value)})", cancellationToken).ConfigureAwait(false);
                if (isFirst == 0 && await TableSql.ExecuteAsync(connection, transaction, command => $"DELETE FROM {_table.Name} WHERE {id} = {Sql.Add(command, entry.Place)} AND {digest} IS NULL", cancellationToken).ConfigureAwait(false) == 1)
                {
                    // The one that stays says since when.
                    var since = entry.Cell.FirstSeenAt.UtcTicks;
                    await TableSql.ExecuteAsync(connection, transaction, command =>
                        $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.FirstSeenAt), since))} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Digest), value))} AND {firstSeen} > {_table.Add(command, nameof(EnvelopeQuarantineRow.FirstSeenAt), since)}", cancellationToken).ConfigureAwait(false);
                }
            }

            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Some entries, released ones too, in the order of their ids: those behind a place.</summary>
    /// <param name="connection">Where the list stands.</param>
    /// <param name="after">The <see cref="QuarantineEntry.Place"/> of the last entry before; null for the first page.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    public async Task<List<QuarantineEntry>> ReadPageAsync(DbConnection connection, object? after, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        var id = _table[nameof(EnvelopeQuarantineRow.Id)];
        command.CommandText = $"SELECT {_table.Columns([.. Read, nameof(EnvelopeQuarantineRow.RunId)])}, CASE WHEN {_table[nameof(EnvelopeQuarantineRow.Digest)]} IS NULL THEN 1 ELSE 0 END FROM {_table.Name}{(after is null ? "" : $" WHERE {id} > {Sql.Add(command, after)}")} ORDER BY {id} LIMIT {PageSize.ToString(CultureInfo.InvariantCulture)}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var entries = new List<QuarantineEntry>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            entries.Add(new QuarantineEntry(ReadCell(reader), reader.IsDBNull(Read.Length) ? null : _table.Read<Guid>(reader, Read.Length, nameof(EnvelopeQuarantineRow.Id)), reader.GetInt32(Read.Length + 1) == 1, reader.GetValue(0)));
        }

        return entries;
    }

    /// <summary>The entries, oldest first; released ones only on request.</summary>
    public async Task<List<QuarantinedCell>> ListAsync(DbConnection connection, bool includeReleased, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {_table.Columns(Read)} FROM {_table.Name}{(includeReleased ? "" : $" WHERE {_table[nameof(EnvelopeQuarantineRow.ReleasedAt)]} IS NULL")} ORDER BY {_table.Columns(nameof(EnvelopeQuarantineRow.FirstSeenAt), nameof(EnvelopeQuarantineRow.TableName), nameof(EnvelopeQuarantineRow.ColumnName), nameof(EnvelopeQuarantineRow.PrimaryKey))}";
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var cells = new List<QuarantinedCell>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            cells.Add(ReadCell(reader));
        }

        return cells;
    }

    private QuarantinedCell ReadCell(DbDataReader reader) => new(
        _table.Read<Guid>(reader, 0, Read[0]), _table.Read<Guid>(reader, 1, Read[1]), reader.GetString(2), reader.GetString(3), reader.GetString(4),
        reader.IsDBNull(5) ? null : _table.Read<Guid>(reader, 5, nameof(EnvelopeQuarantineRow.Id)), reader.GetString(6), new DateTimeOffset(reader.GetInt64(7), TimeSpan.Zero))
    {
        ReleasedAt = reader.IsDBNull(8) ? null : new DateTimeOffset(reader.GetInt64(8), TimeSpan.Zero),
        ReleaseReason = reader.IsDBNull(9) ? null : reader.GetString(9),
    };

    /// <summary>Says anew why an entry is still listed.</summary>
    public Task KeepAsync(DbConnection connection, DbTransaction? transaction, Guid id, string reason, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, transaction, command => $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.Reason), reason))} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Id), id))}", cancellationToken);

    /// <summary>Takes entries off the list; those that somebody listed anew meanwhile, with another run's id, stay.</summary>
    public async Task RemoveAsync(DbConnection connection, IEnumerable<QuarantineEntry> entries, CancellationToken cancellationToken)
    {
        foreach (var run in entries.GroupBy(e => e.RunId))
        {
            foreach (var chunk in run.Chunk(ChunkSize))
            {
                await TableSql.ExecuteAsync(connection, null, command => $"DELETE FROM {_table.Name} WHERE {_table[nameof(EnvelopeQuarantineRow.Id)]} IN ({string.Join(", ", chunk.Select(e => Sql.Add(command, e.Place)))}) AND {(run.Key is { } runId ? _table.Where(command, (nameof(EnvelopeQuarantineRow.RunId), runId)) : $"{_table[nameof(EnvelopeQuarantineRow.RunId)]} IS NULL")}", cancellationToken).ConfigureAwait(false);
            }
        }
    }

    public Task RemoveAsync(DbConnection connection, DbTransaction? transaction, Guid id, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, transaction, command => $"DELETE FROM {_table.Name} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Id), id))}", cancellationToken);

    /// <summary>False when there is no such entry, or it was released before.</summary>
    public async Task<bool> ReleaseAsync(DbConnection connection, Guid id, string reason, CancellationToken cancellationToken)
        => await TableSql.ExecuteAsync(connection, null, command =>
            $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.ReleasedAt), _time.GetUtcNow().UtcTicks), (nameof(EnvelopeQuarantineRow.ReleaseReason), reason))} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Id), id))} AND {_table[nameof(EnvelopeQuarantineRow.ReleasedAt)]} IS NULL", cancellationToken).ConfigureAwait(false) == 1;

    /// <summary>SHA-256 of a cell's table, column and primary key, each with its length before it.</summary>
    private static byte[] DigestOf(string table, string column, string primaryKey)
        => SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{table.Length} {table}{column.Length} {column}{primaryKey}")));
}

/// <summary>A cell that a job could not open, and why.</summary>
internal sealed record PoisonedCell(string Table, string Column, string PrimaryKey, Guid? KeyId, string Reason);

/// <summary>An entry of the list.</summary>
/// <param name="Cell">What is listed.</param>
/// <param name="RunId">The run that met the cell last; null where a former version did.</param>
/// <param name="IsFormer">Whether a former version made it: it has no digest.</param>
/// <param name="Place">Its id as the database holds it and orders by it: on SQLite a text, which somebody else may have written in lower case.</param>
internal sealed record QuarantineEntry(QuarantinedCell Cell, Guid? RunId, bool IsFormer, object Place);
