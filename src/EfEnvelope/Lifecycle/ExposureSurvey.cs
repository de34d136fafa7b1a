using System.Data.Common;
using System.Globalization;
using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Lifecycle;

/// <summary>
/// Counts rows, not only cells, that name given keys: one pass per table, grouped by the key ids of all its encrypted columns, so that a row with several such cells counts once. Row keys are looked up in the ring some at a time. On
/// PostgreSQL with <c>row_security = off</c>: an error instead of silently filtered rows.
/// </summary>
internal sealed class ExposureSurvey
{
    /// <summary>Groups of rows that are read before the row keys that they name are looked up.</summary>
    private const int MaxWaiting = 500;

    /// <summary>The survey's connection is held while row keys are looked up by another one: it comes from a pool beside the ring's.</summary>
    private const int OwnPool = 1;

    private readonly EnvelopeSession _session;
    private readonly SelectedKeys _selected;
    private readonly Dictionary<Guid, KeyRingEntry> _scopes;
    private readonly Dictionary<(string Scope, string Table), Tally> _found = [];
    private readonly List<(long Rows, List<(string Column, Guid[] Candidates)> Cells)> _waiting = [];

    private ExposureSurvey(EnvelopeSession session, SelectedKeys selected)
    {
        (_session, _selected) = (session, selected);
        _scopes = selected.Covered.Where(Exposes).ToDictionary(e => e.Id);
    }

    public static async Task<ExposureReport> TakeAsync(
        EnvelopeSession session, KeySelection selection, SelectedKeys keys, string? reason, string? by, bool isDryRun, CancellationToken cancellationToken)
    {
        var takenAt = session.Runtime.TimeProvider.GetUtcNow();
        IReadOnlyList<ExposedRows> rows;
        try
        {
            rows = await new ExposureSurvey(session, keys).CountAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (DbException error) when (TableErrors.Explain(error) is { } explained)
        {
            throw explained;
        }

        var single = keys.Covered.OrderBy(e => e.Scope, StringComparer.Ordinal).ThenBy(e => e.Purpose).ThenBy(e => e.Version).ToList();
        return new ExposureReport(
            keys.RingId, takenAt, selection.ToString(), reason, by, isDryRun, keys.WasReported,
            [.. single.Select(ExposedKey.Of)], (int)Math.Min(int.MaxValue, keys.Count - single.Count), rows, [.. keys.NotCovered.Select(ExposedKey.Of)], keys.Tampered);
    }

    private static bool Exposes(KeyRingEntry key) => key.Purpose == KeyPurpose.Field && key.State != KeyState.Destroyed;

    private async Task<IReadOnlyList<ExposedRows>> CountAsync(CancellationToken cancellationToken)
    {
        if (_scopes.Count == 0 && _selected.RowKeys.All(k => k.State == KeyState.Destroyed))
        {
            return [];
        }

        var lease = await RingStoreFactory.Connect(_session.Context, null, OwnPool).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            var transaction = lease.Transaction is null && lease.Connection is Npgsql.NpgsqlConnection
                ? await lease.Connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false)
                : null;
            try
            {
                var current = transaction ?? lease.Transaction;
                if (transaction is not null)
                {
                    using var security = Command(lease.Connection, current, $"SET LOCAL row_security = off; {Sql.NoTimeouts(lease.Connection)}");
                    await security.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
                }

                foreach (var table in EncryptedTable.Of(_session.Context.Model, _session.Context.GetService<ISqlGenerationHelper>()))
                {
                    await CountAsync(lease.Connection, current, table, cancellationToken).ConfigureAwait(false);
                }
            }
            finally
            {
                if (transaction is not null)
                {
                    await transaction.DisposeAsync().ConfigureAwait(false);
                }
            }
        }

        return [.. _found
            .Select(f => new ExposedRows(f.Key.Scope, f.Key.Table, f.Value.Rows, f.Value.Since, [.. f.Value.Cells.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => new ExposedColumn(c.Key, c.Value))]))
            .OrderBy(r => r.Scope, StringComparer.Ordinal).ThenBy(r => r.Table, StringComparer.Ordinal)];
    }

    private async Task CountAsync(DbConnection connection, DbTransaction? transaction, EncryptedTable table, CancellationToken cancellationToken)
    {
        var parts = table.Columns.Select(c => c.Storage switch
        {
            EncryptedStorage.Binary => $"substr({c.Delimited}, {EnvelopeLayout.KeyIdOffset + 1}, 16)",
            EncryptedStorage.Armor => $"substr({c.Delimited}, {ArmorHeader.KeyStart + 1}, {ArmorHeader.KeyLength})",
            _ => $"CASE WHEN CAST({c.Delimited} AS TEXT) LIKE '%{TextArmor.Prefix}%' THEN CAST({c.Delimited} AS TEXT) END",
        });
        var groups = string.Join(", ", Enumerable.Range(1, table.Columns.Count).Select(i => i.ToString(CultureInfo.InvariantCulture)));
        using var command = Command(connection, transaction, $"SELECT {string.Join(", ", parts)}, COUNT(*) FROM {table.Delimited} GROUP BY {groups}");
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            var rows = Convert.ToInt64(reader.GetValue(table.Columns.Count), CultureInfo.InvariantCulture);
            _waiting.Add((rows, [.. table.Columns.SelectMany((c, i) => KeysOf(reader, i, c.Storage).Select(candidates => (c.Name, candidates)))]));
            if (_waiting.Count >= MaxWaiting)
            {
                await AddWaitingAsync(table, cancellationToken).ConfigureAwait(false);
            }
        }

        await AddWaitingAsync(table, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Each cell's key, or the four that its armour may mean; a document has several.</summary>
    private static IEnumerable<Guid[]> KeysOf(DbDataReader reader, int ordinal, EncryptedStorage storage)
    {
        if (reader.IsDBNull(ordinal))
        {
            return [];
        }

        return storage switch
        {
            EncryptedStorage.Binary => reader.GetValue(ordinal) is byte[] { Length: 16 } id ? [[new Guid(id, bigEndian: true)]] : [],
            EncryptedStorage.Armor => ArmorHeader.TryReadKey(reader.GetString(ordinal), out var candidates) ? [candidates] : [],
            _ => Documents.Find(reader.GetString(ordinal)).Select(f => new[] { f.KeyId }),
        };
    }

    private async Task AddWaitingAsync(EncryptedTable table, CancellationToken cancellationToken)
    {
        // Where no row key is meant, none is asked for.
        var rowKeys = new Dictionary<Guid, KeyRingEntry>();
        if (_selected.RowKeys.Count > 0)
        {
            var ids = _waiting.SelectMany(w => w.Cells).SelectMany(c => c.Candidates).Where(id => !_scopes.ContainsKey(id)).ToHashSet();
            rowKeys = (await _session.Ring.FindByIdAsync(ids, _session.OpenStore(), cancellationToken, isTolerant: true).ConfigureAwait(false)).Where(e => Exposes(e) && _selected.Meaning.CoversRowKey(e)).ToDictionary(e => e.Id);
        }

        var scopes = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (rows, cells) in _waiting)
        {
            scopes.Clear();
            foreach (var (column, candidates) in cells)
            {
                if (candidates.Select(id => _scopes.GetValueOrDefault(id) ?? rowKeys.GetValueOrDefault(id)).FirstOrDefault(k => k is not null) is not { } key)
                {
                    continue;
                }

                var scope = KeyScope.ParentOf(key.Scope);
                if (!_found.TryGetValue((scope, table.Name), out var tally))
                {
                    _found[(scope, table.Name)] = tally = new Tally();
                }

                tally.Rows += scopes.Add(scope) ? rows : 0;
                tally.Cells[column] = tally.Cells.GetValueOrDefault(column) + rows;
                var since = key.ActivatedAt ?? key.CreatedAt;
                tally.Since = since < tally.Since ? since : tally.Since;
            }
        }

        _waiting.Clear();
    }

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction, string sql)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return command;
    }

    private sealed class Tally
    {
        public long Rows { get; set; }

        public DateTimeOffset Since { get; set; } = DateTimeOffset.MaxValue;

        public Dictionary<string, long> Cells { get; } = new(StringComparer.Ordinal);
    }
}
