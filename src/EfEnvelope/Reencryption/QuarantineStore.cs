using System.Data.Common;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>The list of cells that could not be opened.</summary>
internal sealed class QuarantineStore
{
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

    /// <summary>Lists a cell, once: what another worker or an earlier run listed says since when, and keeps its release.</summary>
    public async Task AddAsync(DbConnection connection, DbTransaction? transaction, Guid jobId, string table, string column, string primaryKey, Guid? keyId, string reason, CancellationToken cancellationToken)
    {
        var known = await TableSql.ExecuteAsync(connection, transaction, command =>
            $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.JobId), jobId), (nameof(EnvelopeQuarantineRow.KeyId), keyId), (nameof(EnvelopeQuarantineRow.Reason), reason))} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.TableName), table), (nameof(EnvelopeQuarantineRow.ColumnName), column), (nameof(EnvelopeQuarantineRow.PrimaryKey), primaryKey))}", cancellationToken).ConfigureAwait(false);
        if (known == 0)
        {
            await TableSql.ExecuteAsync(connection, transaction, command => _table.Insert(command,
                (nameof(EnvelopeQuarantineRow.Id), Guid.NewGuid()), (nameof(EnvelopeQuarantineRow.JobId), jobId), (nameof(EnvelopeQuarantineRow.TableName), table), (nameof(EnvelopeQuarantineRow.ColumnName), column),
                (nameof(EnvelopeQuarantineRow.PrimaryKey), primaryKey), (nameof(EnvelopeQuarantineRow.KeyId), keyId), (nameof(EnvelopeQuarantineRow.Reason), reason), (nameof(EnvelopeQuarantineRow.FirstSeenAt), _time.GetUtcNow().UtcTicks)), cancellationToken).ConfigureAwait(false);
        }
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
            cells.Add(new QuarantinedCell(
                _table.Read<Guid>(reader, 0, Read[0]), _table.Read<Guid>(reader, 1, Read[1]), reader.GetString(2), reader.GetString(3), reader.GetString(4),
                reader.IsDBNull(5) ? null : _table.Read<Guid>(reader, 5, nameof(EnvelopeQuarantineRow.Id)), reader.GetString(6), new DateTimeOffset(reader.GetInt64(7), TimeSpan.Zero))
            {
                ReleasedAt = reader.IsDBNull(8) ? null : new DateTimeOffset(reader.GetInt64(8), TimeSpan.Zero),
                ReleaseReason = reader.IsDBNull(9) ? null : reader.GetString(9),
            });
        }

        return cells;
    }

    public Task RemoveAsync(DbConnection connection, DbTransaction? transaction, Guid id, CancellationToken cancellationToken)
        => TableSql.ExecuteAsync(connection, transaction, command => $"DELETE FROM {_table.Name} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Id), id))}", cancellationToken);

    /// <summary>False when there is no such entry, or it was released before.</summary>
    public async Task<bool> ReleaseAsync(DbConnection connection, Guid id, string reason, CancellationToken cancellationToken)
        => await TableSql.ExecuteAsync(connection, null, command =>
            $"UPDATE {_table.Name} SET {_table.Set(command, (nameof(EnvelopeQuarantineRow.ReleasedAt), _time.GetUtcNow().UtcTicks), (nameof(EnvelopeQuarantineRow.ReleaseReason), reason))} WHERE {_table.Where(command, (nameof(EnvelopeQuarantineRow.Id), id))} AND {_table[nameof(EnvelopeQuarantineRow.ReleasedAt)]} IS NULL", cancellationToken).ConfigureAwait(false) == 1;
}
