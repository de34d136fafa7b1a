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

    /// <summary>How far two machines' clocks may be apart before a change that looks old might be new: ten minutes each, in either direction.</summary>
    internal static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(20);

    /// <summary>Transactions that began before a moment; and sessions whose transactions the role may not see; and whether this is a standby, which knows neither.</summary>
    private const string Horizon =
        """
        SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker' AND xact_start < $1),
               (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
                AND NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AND NOT pg_has_role(current_user, usesysid, 'USAGE')),
               pg_is_in_recovery()
        """;

    /// <summary>Transactions that were prepared before a moment; when they began is not known any more.</summary>
    private const string Prepared = "SELECT COUNT(*) FROM pg_prepared_xacts WHERE database = current_database() AND prepared < $1";

    /// <summary>Waits for what <see cref="WaitAsync"/> waits for, where a key is retired and waiting is wanted, and keeps the record of it for the report.</summary>
    public static async Task<CompletionCutOff> ReachAsync(EnvelopeSession session, StaleKeys retired, long seen, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var started = session.Runtime.TimeProvider.GetTimestamp();
        var (waitedFor, notReached) = retired.IsEmpty ? ("nothing: no key is retired", null)
            : timeout == TimeSpan.Zero ? ("nothing", "the cut-off was not waited for (CutOffTimeout is zero)")
            : ("the end of the sealing lease, then of every older transaction, prepared ones too", await WaitAsync(session, retired.LastChange, seen, timeout, cancellationToken).ConfigureAwait(false));
        return new CompletionCutOff(
            retired.IsEmpty ? null : retired.LastChange, (long)(await LeaseAsync(session, cancellationToken).ConfigureAwait(false)).TotalMilliseconds,
            (long)session.Runtime.TimeProvider.GetElapsedTime(started).TotalMilliseconds, waitedFor, notReached is null, notReached);
    }

    /// <param name="session">The job's session.</param>
    /// <param name="lastChange">When the last stale key stopped sealing, by the clock of whoever changed it.</param>
    /// <param name="seen">Timestamp of this process at which the change was known to be committed: the lease is counted from there, since clocks differ.</param>
    /// <param name="timeout">How long to wait at most.</param>
    /// <param name="cancellationToken">Cancels the wait.</param>
    /// <returns>Null when the cut-off is reached; else why not.</returns>
    public static async Task<string?> WaitAsync(EnvelopeSession session, DateTimeOffset lastChange, long seen, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var time = session.Runtime.TimeProvider;
        var lease = await LeaseAsync(session, cancellationToken).ConfigureAwait(false);
        var started = time.GetTimestamp();
        var wait = time.GetUtcNow() - lastChange > lease + ClockTolerance ? TimeSpan.Zero : lease - time.GetElapsedTime(seen);
        if (wait > timeout)
        {
            return $"the sealing lease ends in {wait.TotalSeconds:0} s, later than the job was to wait ({timeout.TotalSeconds:0} s)";
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
    /// Waits for every transaction that began before now: first for the sessions, then for all that was prepared by the time when none of those was left. One that is prepared while it is waited for leaves its session, and
    /// takes that moment for its own.
    /// </summary>
    private static async Task<string?> WaitForOlderAsync(DbConnection connection, TimeProvider time, long started, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var horizon = await ScalarAsync(connection, "SELECT clock_timestamp()", null, cancellationToken).ConfigureAwait(false);
        object? prepared = null;
        while (true)
        {
            long older = 0;
            if (prepared is null)
            {
                using var command = Command(connection, Horizon, horizon);
                var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
                await using (reader.ConfigureAwait(false))
                {
                    await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
                    older = reader.GetInt64(0);
                    if (reader.GetBoolean(2))
                    {
                        return "the connection leads to a standby, which lags behind and does not know the primary's transactions: connect to the primary";
                    }

                    if (reader.GetInt64(1) is > 0 and var hidden)
                    {
                        return $"{hidden} session(s) of other roles hide when their transactions began: grant pg_read_all_stats to the job's role";
                    }
                }

                prepared = older > 0 ? null : await ScalarAsync(connection, "SELECT clock_timestamp()", null, cancellationToken).ConfigureAwait(false);
            }

            if (prepared is not null && (older = (long)(await ScalarAsync(connection, Prepared, prepared, cancellationToken).ConfigureAwait(false))!) == 0)
            {
                return null;
            }

            if (time.GetElapsedTime(started) > timeout)
            {
                return $"{older} transaction(s) that began before the cut-off are still open (see pg_stat_activity, pg_prepared_xacts)";
            }

            await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<TimeSpan> LeaseAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var own = session.Runtime.RingOptions.SealingLease;
        var longest = (await session.OpenStore().GetIdentityAsync(cancellationToken).ConfigureAwait(false)).SealingLease;
        return longest > own ? longest : own;
    }

    private static async Task<object?> ScalarAsync(DbConnection connection, string sql, object? moment, CancellationToken cancellationToken)
    {
        using var command = Command(connection, sql, moment);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
    }

    private static DbCommand Command(DbConnection connection, string sql, object? moment)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        if (moment is not null)
        {
            command.Parameters.Add(new Npgsql.NpgsqlParameter { Value = moment });
        }

        return command;
    }
}
