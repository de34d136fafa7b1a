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

    /// <returns>Null when the cut-off is reached; else why not.</returns>
    public static async Task<string?> WaitAsync(EnvelopeSession session, DateTimeOffset lastChange, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var time = session.Runtime.TimeProvider;
        var lease = session.Runtime.RingOptions.SealingLease;
        var started = time.GetTimestamp();
        var wait = lastChange + lease - time.GetUtcNow();
        wait = wait > lease ? lease : wait;
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
                // SQLite has one writer at a time: taking the write lock once ends every older write.
                var transaction = await connection.Connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
                await transaction.DisposeAsync().ConfigureAwait(false);
                return null;
            }

            var horizon = await ScalarAsync(connection.Connection, "SELECT clock_timestamp()", null, cancellationToken).ConfigureAwait(false);
            while (true)
            {
                var older = Convert.ToInt64(
                    await ScalarAsync(
                        connection.Connection,
                        "SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < $1) + (SELECT COUNT(*) FROM pg_prepared_xacts WHERE database = current_database() AND prepared < $1)",
                        horizon,
                        cancellationToken).ConfigureAwait(false),
                    System.Globalization.CultureInfo.InvariantCulture);
                if (older == 0)
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
    }

    private static async Task<object?> ScalarAsync(DbConnection connection, string sql, object? argument, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        if (argument is not null)
        {
            var parameter = command.CreateParameter();
            parameter.Value = argument;
            command.Parameters.Add(parameter);
        }

        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
    }
}
