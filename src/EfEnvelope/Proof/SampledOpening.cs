using System.Data.Common;
using System.Globalization;
using System.Security.Cryptography;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Proof;

/// <summary>
/// Opens random cells of every encrypted column under the keys that they name, as a reader would: column, scope, row binding and authenticity are checked, the plaintext is zeroed at once. Rows are drawn by the database in one
/// pass over the column; on PostgreSQL with <c>row_security = off</c>.
/// </summary>
internal static class SampledOpening
{
    /// <summary>Drawn first, of which the sample is then taken: so that it is full although chance decides, and the sort is short.</summary>
    private const int Surplus = 20;

    public static async Task<(List<SampledColumn> Columns, List<SampleFailure> Failures)> TakeAsync(EnvelopeSession session, EnvelopeCensus census, int size, CancellationToken cancellationToken)
    {
        try
        {
            return await OpenAllAsync(session, census, size, cancellationToken).ConfigureAwait(false);
        }
        catch (DbException error) when (TableErrors.Explain(error) is { } explained)
        {
            throw explained;
        }
    }

    private static async Task<(List<SampledColumn> Columns, List<SampleFailure> Failures)> OpenAllAsync(EnvelopeSession session, EnvelopeCensus census, int size, CancellationToken cancellationToken)
    {
        var columns = new List<SampledColumn>();
        var failures = new List<SampleFailure>();
        foreach (var table in EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>()))
        {
            foreach (var column in table.Columns)
            {
                var cells = census.Entries.Where(e => e.Table == table.Name && e.Column == column.Name).Sum(e => e.Cells);
                var drawn = size == 0 || cells == 0 ? [] : await DrawAsync(session, table, column, cells, size, cancellationToken).ConfigureAwait(false);
                columns.Add(await OpenColumnAsync(session, table, column, cells, drawn, failures, cancellationToken).ConfigureAwait(false));
            }
        }

        return (columns, failures);
    }

    private static async Task<SampledColumn> OpenColumnAsync(
        EnvelopeSession session, EncryptedTable table, EncryptedColumn column, long cells, List<(object Cell, string? RowId)> drawn, List<SampleFailure> failures, CancellationToken cancellationToken)
    {
        using var pins = new KeyPins();
        using var transient = new TransientKeys();
        var ids = drawn.SelectMany(d => Envelopes(column, d.Cell)).Select(e => e.KeyId).OfType<Guid>().ToHashSet();
        EnvelopeEncryptionException? notLoaded = null;
        try
        {
            await session.Ring.LoadForOpeningAsync(ids, session.OpenStore(), transient, pins, cancellationToken).ConfigureAwait(false);
        }
        catch (EnvelopeEncryptionException error)
        {
            notLoaded = error;
        }

        int opened = 0, erased = 0;
        foreach (var (cell, rowId) in drawn)
        {
            Guid? keyId = null;
            try
            {
                foreach (var envelope in Envelopes(column, cell))
                {
                    keyId = envelope.KeyId;
                    Open(session.Ring, transient, pins, column, envelope.Bytes, keyId, rowId, notLoaded);
                }

                opened++;
            }
            catch (KeyDestroyedException)
            {
                erased++;
            }
            catch (EnvelopeEncryptionException error)
            {
                failures.Add(new SampleFailure(table.Name, column.Name, keyId, error.GetType().Name));
            }
        }

        return new SampledColumn(table.Name, column.Name, cells, drawn.Count, opened, erased);
    }

    private static void Open(
        KeyRing ring, TransientKeys transient, KeyPins pins, EncryptedColumn column, byte[]? envelope, Guid? keyId, string? rowId, EnvelopeEncryptionException? notLoaded)
    {
        if (envelope is null || keyId is not { } id)
        {
            throw new EnvelopeRefusedException($"A value of column '{column.Name}' is not an envelope.");
        }

        if (!pins.TryGet(id, out var key) && (notLoaded is not null || !pins.TryPin(ring.GetForOpening(id, transient), out key)))
        {
            throw notLoaded ?? new KeyUnavailableException($"Key {id} was let go meanwhile. Retry.") { KeyId = id };
        }

        EnvelopeRefusedException? refused = null;
        foreach (var declaration in column.Declaration is { } own ? [own] : column.Members.Values)
        {
            try
            {
                Open(key, declaration, envelope, rowId);
                return;
            }
            catch (EnvelopeRefusedException error)
            {
                // A document's member may be any of its encrypted properties; the one whose binding opens it is it.
                refused = error;
            }
        }

        throw refused ?? new EnvelopeRefusedException($"A value of column '{column.Name}' is not an envelope.");
    }

    private static void Open(RingKey key, ColumnDeclaration column, byte[] envelope, string? rowId)
    {
        if (!column.AcceptsScope(key.Scope))
        {
            throw new EnvelopeRefusedException($"A value of column '{column.ColumnId}' (key {key.Id}) is of another scope than the model declares.") { ColumnId = column.ColumnId, KeyId = key.Id };
        }

        var binding = key.Bind(column.Column, column.RowBound ? rowId : null);
        CryptographicOperations.ZeroMemory(EnvelopeCodec.OpenBytes(key.Key, binding, (ValueEncoding)(envelope[2] & EnvelopeLayout.EncodingMask), envelope));
    }

    /// <summary>What a cell holds; one without a key id where it is no envelope.</summary>
    private static IEnumerable<(Guid? KeyId, byte[]? Bytes)> Envelopes(EncryptedColumn column, object cell)
    {
        if (column.Storage == EncryptedStorage.Document)
        {
            return Documents.Find((string)cell).Select(found => Armored(Documents.Unescape(((string)cell).Substring(found.Start, found.Length))));
        }

        return cell switch
        {
            byte[] bytes => [(EnvelopeCodec.TryReadKeyId(bytes, out var id) ? id : null, bytes)],
            string text => [Armored(text)],
            _ => [(null, null)],
        };
    }

    private static (Guid? KeyId, byte[]? Bytes) Armored(string text)
    {
        try
        {
            return TextArmor.TryReadKeyId(text, out var id) ? (id, TextArmor.Decode(text)) : (null, null);
        }
        catch (EnvelopeRefusedException)
        {
            return (null, null);
        }
    }

    private static async Task<List<(object Cell, string? RowId)>> DrawAsync(EnvelopeSession session, EncryptedTable table, EncryptedColumn column, long cells, int size, CancellationToken cancellationToken)
    {
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            var isPostgres = lease.Connection is Npgsql.NpgsqlConnection;
            var own = isPostgres && lease.Transaction is null ? await lease.Connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false) : null;
            try
            {
                if (own is not null)
                {
                    using var security = Command(lease.Connection, own, $"SET LOCAL row_security = off; {Sql.NoTimeouts(lease.Connection)}");
                    await security.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
                }

                // A document counts its members; rows of it are at most as many.
                var share = Math.Min(1.0, (double)size * Surplus / cells);
                var text = share.ToString("0.################", CultureInfo.InvariantCulture);
                var chance = share >= 1 ? "" : isPostgres ? $" AND random() < {text}" : $" AND abs(random() % 1000000000) < 1000000000 * {text}";
                var isRowBound = column.Declaration is { RowBound: true };
                var key = isRowBound ? string.Concat(table.Key.Select(k => $", {k.Delimited}")) : "";
                var value = column.Storage == EncryptedStorage.Document ? $"CAST({column.Delimited} AS TEXT)" : column.Delimited;
                var filter = column.Storage == EncryptedStorage.Document ? $"{value} LIKE '%{TextArmor.Prefix}%'" : $"{column.Delimited} IS NOT NULL";
                using var command = Command(
                    lease.Connection, own ?? lease.Transaction,
                    $"SELECT {value}{key} FROM {table.Delimited} WHERE {filter}{chance} ORDER BY random() LIMIT {size.ToString(CultureInfo.InvariantCulture)}");
                command.CommandTimeout = 0;
                using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                var drawn = new List<(object, string?)>(size);
                while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
                {
                    drawn.Add((reader.GetValue(0), isRowBound ? ScopeValue.RowId([.. table.Key.Select((k, i) => k.Read(reader, i + 1))]) : null));
                }

                return drawn;
            }
            finally
            {
                if (own is not null)
                {
                    await own.DisposeAsync().ConfigureAwait(false);
                }
            }
        }
    }

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction, string sql)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return command;
    }
}
