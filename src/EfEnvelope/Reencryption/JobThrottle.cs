using System.Data.Common;

namespace EfEnvelope.Reencryption;

/// <summary>Holds the workers of a run back outside of its window, and while replicas lag behind. Thread safe.</summary>
internal sealed class JobThrottle(ReencryptionOptions options, TimeProvider time)
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(500);

    /// <summary>The greatest lag of all replicas, physical and logical; and those of which the role may not know it.</summary>
    private const string Lag =
        """
        SELECT COALESCE(MAX(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint,
               COUNT(*) FILTER (WHERE replay_lsn IS NULL AND NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'))
        FROM pg_stat_replication
        """;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private long _askedAt = -1;

    /// <summary>Whether work may go on now: asked before each batch.</summary>
    public bool IsOpen => options.Window is not { } window || window.IsOpen(time.GetUtcNow());

    /// <summary>Waits until the window opens; asked before a unit is claimed.</summary>
    /// <exception cref="OperationCanceledException">It is closed, and the job is to stop then.</exception>
    public async Task WaitForWindowAsync(CancellationToken cancellationToken)
    {
        while (options.Window is { } window && window.UntilOpen(time.GetUtcNow()) is var wait && wait > TimeSpan.Zero)
        {
            if (window.StopsOutside)
            {
                throw new WindowClosedException(window);
            }

            await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits while a replica lags further behind than is allowed. One worker asks for all, twice a second at most.</summary>
    public async Task WaitForReplicasAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        if (options.MaxReplicaLagBytes == 0 || (options.ReplicaLag is null && connection is not Npgsql.NpgsqlConnection))
        {
            return;
        }

        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            while (_askedAt < 0 || time.GetElapsedTime(_askedAt) >= Poll)
            {
                var lag = options.ReplicaLag is { } stated ? stated() : await AskAsync(connection, cancellationToken).ConfigureAwait(false);
                if (lag <= options.MaxReplicaLagBytes)
                {
                    _askedAt = time.GetTimestamp();
                    return;
                }

                await Task.Delay(Poll, time, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    private static async Task<long> AskAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        using var command = connection.CreateCommand();
        command.CommandText = Lag;
        using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        return reader.GetInt64(1) == 0
            ? reader.GetInt64(0)
            : throw new EnvelopeConfigurationException("MaxReplicaLagBytes is set, but the job's role may not see how far replicas lag behind: grant pg_read_all_stats to it. What was committed stands.");
    }
}
