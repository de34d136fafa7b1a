using System.Data.Common;
using System.Globalization;
using EfEnvelope.Census;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reencryption;

/// <summary>Finds out what a job would do. Reads tables, ring and job history; writes nothing and makes no key.</summary>
internal sealed class ReencryptionPlanner(EnvelopeSession session, ReencryptionOptions options)
{
    private const int SampleRows = 500;
    private const string NoRate = "none";

    public async Task<ReencryptionPlan> MakeAsync(string? rootKeyId, CancellationToken cancellationToken)
    {
        options.Validate();
        var time = session.Runtime.TimeProvider;
        var takenAt = time.GetUtcNow();
        if ((await session.OpenStore().ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false)).Count == 0)
        {
            // A ring that holds no key yet is not opened: opening it would make its first one.
            return new ReencryptionPlan(takenAt, [], 0, [], 0, 0, null, NoRate, null, await CensusEstimate.TakeAsync(session, cancellationToken).ConfigureAwait(false), []);
        }

        var ring = await session.Ring.SummarizeAsync(session.OpenStore(), cancellationToken).ConfigureAwait(false);
        var (decided, rowKeys) = StaleDecision.Of(ring, takenAt, options.KeyLifetime, rootKeyId);
        var census = await CensusTaker.TakeAsync(session, null, cancellationToken).ConfigureAwait(false);
        var stale = StaleKeys.Of(ring).NamedBy(census);
        var tables = new List<PlannedTable>();
        var unreadable = new List<UnreadableKey>();
        long units = 0, sampled = 0;
        var spent = TimeSpan.Zero;
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            foreach (var table in EncryptedTable.Of(session.Context.Model, session.Context.GetService<ISqlGenerationHelper>()))
            {
                var cells = census.Entries.Where(e => e.Table == table.Name && stale.IsStale(e)).GroupBy(e => e.Column, StringComparer.Ordinal).ToDictionary(c => c.Key, c => c.Sum(e => e.Cells), StringComparer.Ordinal);
                if (cells.Count == 0)
                {
                    continue;
                }

                var columns = cells.Keys.ToList();
                var (rows, bytes, all) = await CountAsync(lease.Connection, lease.Transaction, table, stale, cells.Values.Max(), cancellationToken).ConfigureAwait(false);
                tables.Add(new PlannedTable(table.Name, columns, rows, bytes, table.Key.Count > 0));
                units += table.Key.Count > 0 ? 1 + (all / options.UnitSize) : 0;
                if (table.Key.Count > 0)
                {
                    var started = time.GetTimestamp();
                    sampled += await SampleAsync(lease.Connection, table, stale, unreadable, cancellationToken).ConfigureAwait(false);
                    spent += time.GetElapsedTime(started);
                }
            }

            var last = await new JobStore(session).FindRateAsync(lease.Connection, cancellationToken).ConfigureAwait(false);
            var (rate, source) = Rate(tables.Count > 0, last, spent > TimeSpan.Zero && sampled > 0 ? sampled / spent.TotalSeconds : null);
            var inReach = tables.Where(t => t.HasKey).Sum(t => t.Rows);
            var workers = lease.Connection is Npgsql.NpgsqlConnection ? options.DegreeOfParallelism : 1;
            return new ReencryptionPlan(
                takenAt,
                [.. decided.Select(d => new PlannedKey(
                    d.Key.Id, d.Key.Scope, d.Key.Purpose, d.Key.Version, d.Key.State, d.Reason, d.Key.CreatedAt, d.Key.RootKeyId, d.Key.Purpose == KeyPurpose.Kek ? census.CountUnder(d.Key.Id) : census.CountOf(d.Key.Id)))],
                (int)Math.Min(int.MaxValue, rowKeys.Sum(k => k.Keys.Keys)),
                tables,
                (int)Math.Min(int.MaxValue, units),
                CountCalls(stale),
                rate,
                source,
                rate is > 0 ? TimeSpan.FromSeconds(inReach / rate.Value) + (options.Pause * Math.Ceiling((double)inReach / options.BatchSize) / workers) : null,
                await CensusEstimate.TakeAsync(session, cancellationToken).ConfigureAwait(false),
                unreadable);
        }
    }

    private (double? Rate, string Source) Rate(bool isWork, double? last, double? sampled)
    {
        if (!isWork || (last ?? sampled) is not { } rate)
        {
            return (null, NoRate);
        }

        var source = last is not null ? "the last finished job, its stops included" : "a sample that was read, opened and sealed in memory; writing comes on top";
        return options.MaxRowsPerSecond > 0 && options.MaxRowsPerSecond < rate ? (options.MaxRowsPerSecond, string.Create(CultureInfo.InvariantCulture, $"held to MaxRowsPerSecond; without it {rate:0}, by {source}")) : (rate, source);
    }

    /// <summary>Old and new keys of scopes, old and new keks of row keys, and the ring's mac key.</summary>
    private static int CountCalls(StaleKeys stale)
    {
        var keks = stale.RowKeys.Select(k => k.KekId).Distinct().Count();
        return stale.Entries.Count + keks == 0 ? 0 : stale.Entries.Count + stale.Entries.Select(e => e.Scope).Distinct(StringComparer.Ordinal).Count() + (2 * keks) + 1;
    }

    /// <summary>Where the process must filter, the rows are those of the column with most stale cells, and their bytes a like part of all.</summary>
    private static async Task<(long Rows, long Bytes, long All)> CountAsync(
        DbConnection connection, DbTransaction? transaction, EncryptedTable table, StaleKeys stale, long most, CancellationToken cancellationToken)
    {
        var filter = new StaleFilter(table, stale);
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        var condition = filter.Condition(command);
        var length = CensusEstimate.Length(table, connection is Npgsql.NpgsqlConnection);
        command.CommandText = $"SELECT COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN {condition} THEN {length} ELSE 0 END), 0), COUNT(*) FROM {table.Delimited}";
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        var (rows, bytes, all) = (Number(reader, 0), Number(reader, 1), Number(reader, 2));
        return filter.IsNamed || rows <= most ? (rows, bytes, all) : (most, (long)(bytes * ((double)most / rows)), all);
    }

    /// <summary>Opens and seals a few rows in memory: what they take is the job's rate but for writing, and a key that is refused is found out.</summary>
    private async Task<long> SampleAsync(DbConnection connection, EncryptedTable table, StaleKeys stale, List<UnreadableKey> unreadable, CancellationToken cancellationToken)
    {
        var scan = new TableScan(table, new StaleFilter(table, stale));
        var range = await scan.OpenRangeAsync(connection, null, null, null, SampleRows, cancellationToken).ConfigureAwait(false);
        await using (range.ConfigureAwait(false))
        {
            var lookup = new StaleLookup(session, stale);
            var batch = await lookup.SelectAsync(scan, await range.ReadAsync(cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
            using var pins = new KeyPins();
            using var transient = new TransientKeys();
            var ids = batch.Rows.SelectMany(r => r.Cells.SelectMany((c, i) => BatchResealer.KeyIds(table.Columns[i], c))).Where(lookup.Contains).Distinct().ToList();
            await session.Ring.LoadForOpeningAsync(ids, session.OpenStore(), transient, pins, cancellationToken).ConfigureAwait(false);
            foreach (var id in ids.Where(id => !pins.TryGet(id, out _) && unreadable.TrueForAll(u => u.Id != id)))
            {
                try
                {
                    session.Ring.GetForOpening(id, transient);
                }
                catch (EnvelopeEncryptionException error)
                {
                    unreadable.Add(new UnreadableKey(id, error.GetType().Name));
                }
            }

            foreach (var row in batch.Rows)
            {
                for (var i = 0; i < row.Cells.Length; i++)
                {
                    if (row.Cells[i] is { } cell && table.Columns[i] is { Declaration: { } column, Storage: not EncryptedStorage.Document }
                        && BatchResealer.KeyIds(table.Columns[i], cell).Select(id => (Guid?)id).FirstOrDefault() is { } id && pins.TryGet(id, out var key))
                    {
                        CellResealer.Try(cell, column, key, row.Key);
                    }
                }
            }

            return batch.Rows.Count;
        }
    }

    private static long Number(DbDataReader reader, int ordinal) => Convert.ToInt64(reader.GetValue(ordinal), CultureInfo.InvariantCulture);
}
