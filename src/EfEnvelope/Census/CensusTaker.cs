using System.Data.Common;
using System.Globalization;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Census;

/// <summary>
/// Counts by header, in the database: <c>substr(col, 4, 16)</c> of binary cells, <c>substr(col, 10, 21)</c> of armour (the first 126 bits); JSON documents are scanned. All of it in one snapshot
/// (<see cref="CensusSnapshot"/>), on PostgreSQL with <c>row_security = off</c>: an error instead of silently filtered rows. Tenant filters do not apply.
/// Columns that only another context over the same database knows are counted too, from the ring's table of columns; other databases over the same ring are named, and columns that are not found.
/// What the database hands out is read as a stream and added up (<see cref="ColumnTally"/>): where rows have keys of their own there are as many groups as rows.
/// </summary>
internal static class CensusTaker
{
    /// <summary>Columns that are counted in one scan at most: in the worst case groups multiply by versions of keys.</summary>
    private const int MaxGrouped = 6;

    /// <summary>How often a census begins anew where tables change their names while it begins.</summary>
    private const int MaxAttempts = 5;

    /// <summary>How long a census waits for a table that nobody listed and another session holds, before each further attempt.</summary>
    private static readonly TimeSpan BusyPause = TimeSpan.FromSeconds(1);

    /// <summary>The census's connection is held while row keys are looked up by another one: it comes from a pool beside the ring's, so that many at once do not wait for each other.</summary>
    private const int OwnPool = 1;

    /// <param name="session">The session of the context whose columns are counted.</param>
    /// <param name="single">Row keys that are to be counted one by one, up to <see cref="ColumnTally.MaxListed"/> of them a column; null for none.</param>
    /// <param name="cancellationToken">Cancels the count.</param>
    /// <param name="ending">The key whose end is in question: other databases that were counted since its last change are not named; null for every retired key.</param>
    public static async Task<EnvelopeCensus> TakeAsync(EnvelopeSession session, Func<KeyRingEntry, bool>? single, CancellationToken cancellationToken, Guid? ending = null)
    {
        try
        {
            return await CountAllAsync(session, single, ending, cancellationToken).ConfigureAwait(false);
        }
        catch (DbException error) when (TableErrors.Explain(error) is { } explained)
        {
            throw explained;
        }
    }

    /// <summary>Which of the registered columns the database does not have.</summary>
    public static async Task<HashSet<(string Table, string Column)>> FindMissingAsync(EnvelopeSession session, IReadOnlyList<(string Table, string Column, bool IsDocument, bool IsForgotten)> registered, CancellationToken cancellationToken)
    {
        var lease = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            var sql = session.Context.GetService<ISqlGenerationHelper>();
            return [.. (await ForeignColumns.FindAsync(lease.Connection, lease.Transaction, registered, [], sql, cancellationToken).ConfigureAwait(false)).Missing];
        }
    }

    private static async Task<EnvelopeCensus> CountAllAsync(EnvelopeSession session, Func<KeyRingEntry, bool>? single, Guid? ending, CancellationToken cancellationToken)
    {
        var context = session.Context;
        var takenAt = session.Runtime.TimeProvider.GetUtcNow();
        var book = await KeyBook.OpenAsync(session, cancellationToken).ConfigureAwait(false);
        var (registered, databases, isShared) = await ColumnRegistry.FindAsync(session, ending, cancellationToken).ConfigureAwait(false);
        List<(string Table, string Column)> missing;
        bool isOfStandby;
        List<string> unreadable, busy;
        var entries = new List<CensusEntry>();
        var lease = await RingStoreFactory.Connect(context, null, OwnPool).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (lease.ConfigureAwait(false))
        {
            (var tables, missing, var snapshot) = await BeginAsync(lease, context, registered, cancellationToken).ConfigureAwait(false);
            await using (snapshot.ConfigureAwait(false))
            {
                isOfStandby = await snapshot.IsOfStandbyAsync(cancellationToken).ConfigureAwait(false);
                unreadable = [.. tables.Where(t => !t.IsReadable).Select(t => t.Name)];
                busy = [.. tables.Where(t => snapshot.Busy.Contains(t.Delimited)).Select(t => t.Name)];
                foreach (var table in tables.Where(t => t.IsReadable && !snapshot.Busy.Contains(t.Delimited)))
                {
                    foreach (var (columns, form) in Scans(table))
                    {
                        var tallies = columns.ConvertAll(c => new ColumnTally(book, table.Name, c.Name, single));
                        using var command = Command(lease.Connection, snapshot.Transaction, Statement(table, columns, form, lease.Connection is Npgsql.NpgsqlConnection));
                        await CountAsync(command, columns, form, tallies, cancellationToken).ConfigureAwait(false);

                        // What nobody listed may be another ring's, or no envelope at all.
                        entries.AddRange(tallies.SelectMany(t => t.Entries()).Where(e => table.IsListed || e.State is not null));
                    }
                }
            }
        }

        entries.Sort(Compare);
        return new EnvelopeCensus(takenAt, entries) { IsOfStandby = isOfStandby, IsShared = isShared, UnreadableTables = unreadable, BusyTables = busy, OtherDatabases = [.. databases.Select(DataDatabase.Show)], MissingColumns = [.. missing.Select(m => new RegisteredColumn(m.Table, m.Column, IsFound: false))] };
    }

    /// <summary>What is to be counted, and the snapshot. Looked for again in the snapshot, whose tables can be neither renamed nor dropped: one that took another's name meanwhile would be counted for it.</summary>
    private static async Task<(List<EncryptedTable> Tables, List<(string Table, string Column)> Missing, CensusSnapshot Snapshot)> BeginAsync(
        RingConnection.Lease lease, DbContext context, List<(string Table, string Column, bool IsDocument, bool IsForgotten)> registered, CancellationToken cancellationToken)
    {
        var (tables, missing) = await FindAsync(lease.Connection, lease.Transaction, context, registered, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; ; attempt++)
        {
            var snapshot = await CensusSnapshot.BeginAsync(
                lease, [.. tables.Where(t => t is { IsReadable: true, IsListed: true }).Select(t => t.Delimited)], [.. tables.Where(t => !t.IsListed).Select(t => t.Delimited)], cancellationToken).ConfigureAwait(false);
            try
            {
                var (locked, missed) = await FindAsync(lease.Connection, snapshot.Transaction, context, registered, cancellationToken).ConfigureAwait(false);
                var isSame = Places(locked).SetEquals(Places(tables));
                if (isSame && (snapshot.Busy.Count == 0 || attempt == MaxAttempts))
                {
                    return (locked, missed, snapshot);
                }

                if (!isSame && attempt == MaxAttempts)
                {
                    throw new KeyUnavailableException("Tables were made, renamed or dropped again and again while a census was to begin. Nothing was changed; run it again.");
                }

                (tables, missing) = (locked, missed);
            }
            catch
            {
                await snapshot.DisposeAsync().ConfigureAwait(false);
                throw;
            }

            await snapshot.DisposeAsync().ConfigureAwait(false);
            if (snapshot.Busy.Count > 0)
            {
                // Most locks are over at once.
                await Task.Delay(BusyPause, cancellationToken).ConfigureAwait(false);
            }
        }

        static HashSet<(string, string, EncryptedStorage, bool)> Places(List<EncryptedTable> tables) => [.. tables.SelectMany(t => t.Columns.Select(c => (t.Delimited, c.Name, c.Storage, t.IsReadable)))];
    }

    private static async Task<(List<EncryptedTable> Tables, List<(string Table, string Column)> Missing)> FindAsync(
        DbConnection connection, DbTransaction? transaction, DbContext context, List<(string Table, string Column, bool IsDocument, bool IsForgotten)> registered, CancellationToken cancellationToken)
    {
        var sql = context.GetService<ISqlGenerationHelper>();
        var own = EncryptedTable.Of(context.Model, sql);
        var (foreign, missing, listed) = await ForeignColumns.FindAsync(connection, transaction, registered, own, sql, cancellationToken).ConfigureAwait(false);
        var unlisted = await UnlistedColumns.FindAsync(connection, transaction, listed, RingTables(context), sql, cancellationToken).ConfigureAwait(false);
        var forgotten = registered.Where(r => r.IsForgotten).Select(r => (r.Table, r.Column)).ToHashSet();
        return ([.. own, .. foreign, .. unlisted], [.. missing.Where(m => !forgotten.Contains(m))]);
    }

    /// <summary>They hold wrapped keys, which are envelopes too.</summary>
    private static List<string> RingTables(DbContext context)
        => [.. new[] { typeof(EnvelopeRingRow), typeof(EnvelopeKeyRow), typeof(EnvelopeColumnRow) }.Select(t => context.Model.FindEntityType(t)?.GetTableName()).OfType<string>()];

    /// <summary>
    /// One scan for all columns of a table that hold a cell's header in front: rows are grouped by the headers of all their cells, of which there are few. Where rows have keys of their own there are as many headers as
    /// rows, and each column is counted by itself, by key id; so are those of which only the name is known, and documents.
    /// </summary>
    private static IEnumerable<(List<EncryptedColumn> Columns, Form Form)> Scans(EncryptedTable table)
    {
        var columns = table.Columns.Where(c => c.Storage != EncryptedStorage.Document).ToList();
        var form = columns.Exists(c => c.Declaration is null or { PerRow: true }) ? Form.Keys : Form.Headers;
        return columns.Chunk(form == Form.Keys ? 1 : MaxGrouped).Select(c => (c.ToList(), form))
            .Concat(table.Columns.Where(c => c.Storage == EncryptedStorage.Document).Select(c => (new List<EncryptedColumn> { c }, Form.Documents)));
    }

    private static string Statement(EncryptedTable table, List<EncryptedColumn> columns, Form form, bool isPostgres)
    {
        var name = columns[0].Delimited;
        var condition = table.Columns.Count(c => c.Name == columns[0].Name) > 1 ? ForeignColumns.Condition(name, columns[0].Storage) : null;
        if (!table.IsListed && form == Form.Keys)
        {
            // Most of it may be no envelope at all, and somebody's plain text: that is neither grouped nor fetched.
            condition = $"{condition ?? $"{name} IS NOT NULL"} AND {UnlistedColumns.Mark(name, columns[0].Storage, isPostgres)}";
        }

        if (form == Form.Documents)
        {
            return $"SELECT CAST({name} AS TEXT) FROM {table.Delimited} WHERE {condition ?? $"CAST({name} AS TEXT) LIKE '%{TextArmor.Prefix}%'"}";
        }

        if (form == Form.Keys)
        {
            // The groups of armour are those of its characters, whatever the column's collation takes for equal.
            var marker = Part(columns[0], 0, 1, 0, ArmorHeader.KeyStart);
            var key = Part(columns[0], EnvelopeLayout.KeyIdOffset, 16, ArmorHeader.KeyStart, ArmorHeader.KeyLength);
            var group = columns[0].Storage == EncryptedStorage.Armor && isPostgres ? $"{marker} COLLATE \"C\", {key} COLLATE \"C\"" : $"{marker}, {key}";
            return $"SELECT {group}, COUNT(*) FROM {table.Delimited} WHERE {condition ?? $"{name} IS NOT NULL"} GROUP BY {group}";
        }

        var headers = columns.Select(c => Part(c, 0, EnvelopeLayout.BoundHeaderBytes, 0, ArmorHeader.Length)).ToList();
        return $"SELECT {string.Join(", ", headers)}, COUNT(*) FROM {table.Delimited} GROUP BY {string.Join(", ", headers)}";

        // A column of SQLite holds texts and bytes, whatever the model says of it.
        string Part(EncryptedColumn column, int start, int length, int startOfText, int lengthOfText)
        {
            var isText = column.Storage == EncryptedStorage.Armor;
            return isPostgres
                ? string.Create(CultureInfo.InvariantCulture, $"substr({column.Delimited}, {(isText ? startOfText : start) + 1}, {(isText ? lengthOfText : length)})")
                : string.Create(CultureInfo.InvariantCulture, $"CASE typeof({column.Delimited}) WHEN 'text' THEN substr({column.Delimited}, {startOfText + 1}, {lengthOfText}) ELSE substr({column.Delimited}, {start + 1}, {length}) END");
        }
    }

    private static async Task CountAsync(DbCommand command, List<EncryptedColumn> columns, Form form, List<ColumnTally> tallies, CancellationToken cancellationToken)
    {
        command.CommandTimeout = 0;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            switch (form)
            {
                case Form.Documents:
                    foreach (var (id, _, _) in Documents.Find(reader.GetString(0)))
                    {
                        tallies[0].Add(id, 1);
                    }

                    break;
                case Form.Keys:
                    AddKey(tallies[0], reader);
                    break;
                default:
                    AddHeaders(columns, tallies, reader);
                    break;
            }

            foreach (var tally in tallies)
            {
                if (tally.IsFull)
                {
                    await tally.ResolveAsync(cancellationToken).ConfigureAwait(false);
                }
            }
        }

        foreach (var tally in tallies)
        {
            await tally.ResolveAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private static void AddKey(ColumnTally tally, DbDataReader reader)
    {
        var cells = Number(reader, 2);
        switch (reader.GetValue(0), reader.GetValue(1))
        {
            case (byte[] marker, byte[] { Length: 16 } id) when marker.AsSpan().SequenceEqual([EnvelopeLayout.Marker]):
                tally.Add(new Guid(id, bigEndian: true), cells);
                break;
            case (string prefix, string id) when ArmorHeader.TryRead(prefix + id, out var candidates):
                tally.Add(candidates, cells);
                break;
            default:
                tally.AddOther(cells);
                break;
        }
    }

    private static void AddHeaders(List<EncryptedColumn> columns, List<ColumnTally> tallies, DbDataReader reader)
    {
        var rows = Number(reader, columns.Count);
        for (var i = 0; i < columns.Count; i++)
        {
            switch (reader.GetValue(i))
            {
                case DBNull:
                    break;
                case byte[] { Length: EnvelopeLayout.BoundHeaderBytes } header when header[0] == EnvelopeLayout.Marker:
                    tallies[i].Add(EnvelopeLayout.KeyId(header), rows);
                    break;
                case string header when ArmorHeader.TryRead(header, out var candidates):
                    tallies[i].Add(candidates, rows);
                    break;
                default:
                    tallies[i].AddOther(rows);
                    break;
            }
        }
    }

    private static long Number(DbDataReader reader, int ordinal) => Convert.ToInt64(reader.GetValue(ordinal), CultureInfo.InvariantCulture);

    /// <summary>By table, column and key; what is counted together by scope and state.</summary>
    private static int Compare(CensusEntry a, CensusEntry b)
        => string.CompareOrdinal(a.Table, b.Table) is not 0 and var table ? table
            : string.CompareOrdinal(a.Column, b.Column) is not 0 and var column ? column
            : Nullable.Compare(a.KeyId, b.KeyId) is not 0 and var key ? key
            : string.CompareOrdinal(a.Scope, b.Scope) is not 0 and var scope ? scope
            : Nullable.Compare(a.State, b.State) is not 0 and var state ? state
            : Nullable.Compare(a.KekId, b.KekId) is not 0 and var kek ? kek : a.Keys.CompareTo(b.Keys);

    private static DbCommand Command(DbConnection connection, DbTransaction? transaction, string sql)
    {
        var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        return command;
    }

    private enum Form
    {
        /// <summary>The headers of several columns, grouped together.</summary>
        Headers,

        /// <summary>The key ids of one column.</summary>
        Keys,

        /// <summary>JSON documents, one by one.</summary>
        Documents,
    }
}
