using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>A real standby whose replay is held up.</summary>
public sealed class ReplicaLagTests
{
    private const int Rows = 60;

    [Fact]
    public async Task No_batch_is_read_while_a_standby_lags_and_the_job_ends_when_it_caught_up()
    {
        await using var primary = await PostgresCluster.StartAsync();
        await using var standby = await primary.AddStandbyAsync();
        var options = new DbContextOptionsBuilder().AmongMany().UseNpgsql(primary.ConnectionString).UseEnvelopeEncryption(e => e.UseInMemoryKms(primary.ConnectionString)).Options;
        await using var context = new LoadContext(options);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(0, Rows).Select(n => new Item { Id = n, Number = n, TenantId = 1, First = $"f{n}", Second = $"s{n}" }));
        await context.SaveChangesAsync();
        await Retirement.RotateAllAsync(context, "test");
        await WaitAsync(primary, "SELECT COUNT(*) = 1 AND COALESCE(MAX(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 1) = 0 FROM pg_stat_replication");

        await ScalarAsync(standby, "SELECT pg_wal_replay_pause()");
        await WaitAsync(standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'");
        var lagging = true;
        await ScalarAsync(primary, "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))");
        var early = 0;
        var job = Task.Run(() => new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions
        {
            BatchSize = 10, UnitSize = 100, CutOffTimeout = TimeSpan.Zero, DegreeOfParallelism = 2, MaxReplicaLagBytes = 500_000,
            FaultPoint = step =>
            {
                early += step == JobStep.Read && Volatile.Read(ref lagging) ? 1 : 0;
                return ValueTask.CompletedTask;
            },
        }));
        await WaitAsync(primary, "SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE application_name = 'EfEnvelope job' AND query LIKE '%pg_wal_lsn_diff%'");
        Assert.False(job.IsCompleted);
        Volatile.Write(ref lagging, false);
        await ScalarAsync(standby, "SELECT pg_wal_replay_resume()");

        var report = await job;

        Assert.Equal((Rows, 0, 0L), ((int)report.Rows, early, report.Census.StaleCells));
        await WaitAsync(standby, "SELECT NOT pg_is_wal_replay_paused()");
    }

    private static async Task WaitAsync(PostgresCluster cluster, string condition)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (await ScalarAsync(cluster, condition) is not true)
        {
            timeout.Token.ThrowIfCancellationRequested();
            await Task.Delay(20, timeout.Token);
        }
    }

    private static async Task<object?> ScalarAsync(PostgresCluster cluster, string sql)
    {
        await using var connection = new NpgsqlConnection(cluster.ConnectionString + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync() is { } value and not DBNull ? value : null;
    }
}
