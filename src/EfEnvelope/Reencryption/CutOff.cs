using System.Data.Common;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope.Reencryption;

/// <summary>
/// The moment from which no new cell can name a stale key: the sealing lease after its last change is over everywhere, and every transaction that began before has ended (prepared ones too). Only
/// then is a census a proof.
/// </summary>
internal static class CutOff
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// The transactions that are open in this database. By their locks: each takes one on its own virtual id before its first statement and keeps it until its end is visible to others. These are told to every role, and of every
    /// session; when a transaction began is neither (<c>track_activities</c>, <c>pg_read_all_stats</c>). Autovacuum runs under no role.
    /// </summary>
    private const string Open =
        """
        SELECT l.virtualxid FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND a.datname = current_database() AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
        """;

    /// <summary>The sessions whose transactions are open among those that were noted.</summary>
    private const string StillOpen = "SELECT pid FROM pg_locks WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND virtualxid = ANY($1) ORDER BY pid";

    /// <summary>Process ids that a report names at most.</summary>
    private const int MaxNamed = 5;

    /// <summary>The transactions that are prepared in this database. When they began is not known any more; when they were prepared a clock said that may have been set since.</summary>
    private const string Prepared = "SELECT transaction::text || ' ' || gid FROM pg_prepared_xacts WHERE database = current_database()";

    /// <summary>How many are left among the prepared transactions that were noted.</summary>
    private const string StillPrepared = $"SELECT COUNT(*) FROM ({Prepared}) AS p(id) WHERE id = ANY($1)";

    /// <summary>Waits for what <see cref="WaitAsync"/> waits for, where a key is retired and waiting is wanted, and keeps the record of it for the report.</summary>
    public static async Task<CompletionCutOff> ReachAsync(EnvelopeSession session, StaleKeys retired, long seen, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var started = session.Runtime.TimeProvider.GetTimestamp();
        var (waitedFor, notReached) = retired.IsEmpty ? ("nothing: no key is retired", null)
            : timeout == TimeSpan.Zero ? ("nothing", "the cut-off was not waited for (CutOffTimeout is zero)")
            : ("the end of the sealing lease, then of every older transaction, prepared ones too", await WaitAsync(session, seen, timeout, cancellationToken).ConfigureAwait(false));
        return new CompletionCutOff(
            retired.IsEmpty ? null : retired.LastChange, (long)(await LeaseAsync(session, cancellationToken).ConfigureAwait(false)).TotalMilliseconds,
            (long)session.Runtime.TimeProvider.GetElapsedTime(started).TotalMilliseconds, waitedFor, notReached is null, notReached);
    }

    /// <param name="session">The job's session.</param>
    /// <param name="seen">Timestamp of this process at which the last change of a stale key was known to be committed: the lease is counted from there. When the change was made only the clock of whoever made it says, and clocks differ.</param>
    /// <param name="timeout">How long to wait at most.</param>
    /// <param name="cancellationToken">Cancels the wait.</param>
    /// <returns>Null when the cut-off is reached; else why not.</returns>
    public static async Task<string?> WaitAsync(EnvelopeSession session, long seen, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var time = session.Runtime.TimeProvider;
        var lease = await LeaseAsync(session, cancellationToken).ConfigureAwait(false);
        var started = time.GetTimestamp();
        var wait = lease - time.GetElapsedTime(seen);
        if (wait > timeout)
        {
            return $"the sealing lease ends in {wait.TotalSeconds:0} s, later than the job was to wait ({timeout.TotalSeconds:0} s): allow more";
        }

        if (wait > TimeSpan.Zero)
        {
            await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
        }

        var connection = await RingStoreFactory.Connect(session.Context, null).OpenAsync(cancellationToken).ConfigureAwait(false);
        await using (connection.ConfigureAwait(false))
        {
            if (connection.Connection is not Npgsql.NpgsqlConnection)
            {
                return await WaitForWriteLockAsync(connection.Connection, time, started, timeout, cancellationToken).ConfigureAwait(false);
            }

            return await WaitForOlderAsync(connection.Connection, time, started, timeout, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>SQLite has one writer at a time: taking the write lock once ends every older write.</summary>
    private static async Task<string?> WaitForWriteLockAsync(DbConnection connection, TimeProvider time, long started, TimeSpan timeout, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                var transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
                await transaction.DisposeAsync().ConfigureAwait(false);
                return null;
            }
            catch (DbException error) when (JobFaults.IsBusy(error))
            {
                // After the connection's own timeout.
                if (time.GetElapsedTime(started) > timeout)
                {
                    return "another connection writes to the SQLite database since before the cut-off, and has not ended its transaction";
                }
            }

            await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Waits for every transaction that began before now: first for the sessions, then for all that is prepared when none of those is left. One that is prepared while it is waited for is there before it leaves its session. No
    /// clock is compared.
    /// </summary>
    private static async Task<string?> WaitForOlderAsync(DbConnection connection, TimeProvider time, long started, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (await ScalarAsync(connection, "SELECT pg_is_in_recovery()", null, cancellationToken).ConfigureAwait(false) is true)
        {
            return "the connection leads to a standby, which lags behind and does not know the primary's transactions: connect to the primary";
        }

        var noted = await ListAsync<string>(connection, Open, null, cancellationToken).ConfigureAwait(false);
        while (await ListAsync<int>(connection, StillOpen, noted, cancellationToken).ConfigureAwait(false) is { Length: > 0 } older)
        {
            if (time.GetElapsedTime(started) > timeout)
            {
                return $"{older.Length} transaction(s) that began before the cut-off are still open (pid {string.Join(", ", older.Take(MaxNamed))}{(older.Length > MaxNamed ? " and others" : "")}: see pg_stat_activity)";
            }

            await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
        }

        var left = await ListAsync<string>(connection, Prepared, null, cancellationToken).ConfigureAwait(false);
        while ((long)(await ScalarAsync(connection, StillPrepared, left, cancellationToken).ConfigureAwait(false))! is > 0 and var prepared)
        {
            if (time.GetElapsedTime(started) > timeout)
            {
                return $"{prepared} transaction(s) that began before the cut-off are prepared and not ended (see pg_prepared_xacts)";
            }

            await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
        }

        return null;
    }

    private static async Task<TimeSpan> LeaseAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var own = session.Runtime.RingOptions.SealingLease;
        var longest = (await session.OpenStore().GetIdentityAsync(cancellationToken).ConfigureAwait(false)).SealingLease;
        return longest > own ? longest : own;
    }

    private static async Task<object?> ScalarAsync(DbConnection connection, string sql, object? parameter, CancellationToken cancellationToken)
    {
        using var command = Command(connection, sql, parameter);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
    }

    private static async Task<T[]> ListAsync<T>(DbConnection connection, string sql, object? parameter, CancellationToken cancellationToken)
    {
        using var command = Command(connection, sql, parameter);
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            var values = new List<T>();
            while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            {
                values.Add(reader.GetFieldValue<T>(0));
            }

            return [.. values];
        }
    }

    private static DbCommand Command(DbConnection connection, string sql, object? parameter)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        if (parameter is not null)
        {
            command.Parameters.Add(new Npgsql.NpgsqlParameter { Value = parameter });
        }

        return command;
    }
}
