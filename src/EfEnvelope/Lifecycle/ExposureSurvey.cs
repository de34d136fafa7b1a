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
/// Counts rows, not only cells, that name given keys: one pass per table, grouped by the key ids of all its encrypted columns, so that a row with several such cells counts once. On PostgreSQL with <c>row_security = off</c>: an
/// error instead of silently filtered rows.
/// </summary>
internal static class ExposureSurvey
{
    public static async Task<ExposureReport> TakeAsync(
        EnvelopeSession session, KeySelection selection, CompromisedKeys keys, string? reason, string? by, bool isDryRun, CancellationToken cancellationToken)
    {
        var takenAt = session.Runtime.TimeProvider.GetUtcNow();
        var marked = keys.Marked.Select(e => e.Id).ToHashSet();
        var rows = await CountAsync(session, [.. keys.Covered.Where(e => e.Purpose == KeyPurpose.Field && e.State != KeyState.Destroyed)], cancellationToken).ConfigureAwait(false);
        var keks = keys.Covered.Where(e => e.Purpose == KeyPurpose.Kek).Select(e => e.Id).ToHashSet();
        var single = keys.Covered.Where(e => e.KekId is not { } kek || !keks.Contains(kek)).OrderBy(e => e.Scope, StringComparer.Ordinal).ThenBy(e => e.Purpose).ThenBy(e => e.Version).ToList();
        return new ExposureReport(
            keys.RingId, takenAt, selection.ToString(), reason, by, isDryRun, keys.Covered.Any(e => e.CompromisedAt is not null && !marked.Contains(e.Id)),
            [.. single.Select(ExposedKey.Of)], keys.Covered.Count - single.Count, rows, [.. keys.NotCovered.Select(ExposedKey.Of)], keys.Tampered);
    }

    private static async Task<IReadOnlyList<ExposedRows>> CountAsync(EnvelopeSession session, IReadOnlyList<KeyRingEntry> keys, CancellationToken cancellationToken)
    {
        if (keys.Count == 0)
        {
            return [];
        }

        var byId = keys.ToDictionary(k => k.Id);
        var byArmor = keys.GroupBy(k => ArmorHeader.Of(k.Id), StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.First(), StringComparer.Ordinal);
        var found = new Dictionary<(string Scope, string Table), Tally>();
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
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
                    using var security = Command(lease.Connection, current, "SET LOCAL row_security = off");
                    await security.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
                }

                foreach (var table in EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>()))
                {
                    await CountAsync(lease.Connection, current, table, byId, byArmor, found, cancellationToken).ConfigureAwait(false);
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

        return [.. found
            .Select(f => new ExposedRows(f.Key.Scope, f.Key.Table, f.Value.Rows, f.Value.Since, [.. f.Value.Cells.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => new ExposedColumn(c.Key, c.Value))]))
            .OrderBy(r => r.Scope, StringComparer.Ordinal).ThenBy(r => r.Table, StringComparer.Ordinal)];
    }

    private static async Task CountAsync(
        DbConnection connection, DbTransaction? transaction, EncryptedTable table, Dictionary<Guid, KeyRingEntry> byId, Dictionary<string, KeyRingEntry> byArmor,
        Dictionary<(string Scope, string Table), Tally> found, CancellationToken cancellationToken)
    {
        var parts = table.Columns.Select(c => c.Storage switch
        {
            EncryptedStorage.Binary => $"substr({c.Delimited}, 4, 16)",
            EncryptedStorage.Armor => $"substr({c.Delimited}, 10, 21)",
            _ => $"CASE WHEN CAST({c.Delimited} AS TEXT) LIKE '%{TextArmor.Prefix}%' THEN CAST({c.Delimited} AS TEXT) END",
        });
        var groups = string.Join(", ", Enumerable.Range(1, table.Columns.Count).Select(i => i.ToString(CultureInfo.InvariantCulture)));
        using var command = Command(connection, transaction, $"SELECT {string.Join(", ", parts)}, COUNT(*) FROM {table.Delimited} GROUP BY {groups}");
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var scopes = new HashSet<string>(StringComparer.Ordinal);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            var rows = Convert.ToInt64(reader.GetValue(table.Columns.Count), CultureInfo.InvariantCulture);
            scopes.Clear();
            for (var i = 0; i < table.Columns.Count; i++)
            {
                foreach (var key in KeysOf(reader, i, table.Columns[i].Storage, byId, byArmor))
                {
                    var scope = KeyScope.ParentOf(key.Scope);
                    if (!found.TryGetValue((scope, table.Name), out var tally))
                    {
                        found[(scope, table.Name)] = tally = new Tally();
                    }

                    tally.Rows += scopes.Add(scope) ? rows : 0;
                    tally.Cells[table.Columns[i].Name] = tally.Cells.GetValueOrDefault(table.Columns[i].Name) + rows;
                    var since = key.ActivatedAt ?? key.CreatedAt;
                    tally.Since = since < tally.Since ? since : tally.Since;
                }
            }
        }
    }

    private static IEnumerable<KeyRingEntry> KeysOf(DbDataReader reader, int ordinal, EncryptedStorage storage, Dictionary<Guid, KeyRingEntry> byId, Dictionary<string, KeyRingEntry> byArmor)
    {
        if (reader.IsDBNull(ordinal))
        {
            return [];
        }

        return storage switch
        {
            EncryptedStorage.Binary => reader.GetValue(ordinal) is byte[] { Length: 16 } id && byId.TryGetValue(new Guid(id, bigEndian: true), out var key) ? [key] : [],
            EncryptedStorage.Armor => byArmor.TryGetValue(reader.GetString(ordinal), out var key) ? [key] : [],
            _ => Documents.Find(reader.GetString(ordinal)).Select(f => byId.GetValueOrDefault(f.KeyId)).OfType<KeyRingEntry>(),
        };
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
