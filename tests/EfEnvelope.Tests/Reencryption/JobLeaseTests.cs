using EfEnvelope.JobProcess.Load;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobLeaseTests() : JobLeaseTests("SQLite")
{
    [Fact]
    public async Task A_batch_that_outlives_its_lease_in_a_database_in_memory_asks_in_its_own_transaction()
    {
        await using var connection = new SqliteConnection("Data Source=:memory:");
        await connection.OpenAsync();
        await using var context = new BankContext(new DbContextOptionsBuilder().AmongMany().UseSqlite(connection).UseEnvelopeEncryption(e => e.UseKeyManagementService(Database.KeyService).UseTimeProvider(Database.Time)).Options);
        await context.Database.EnsureCreatedAsync();
        await SeedAsync(context, 4, 0);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        var late = 0;
        var report = await keys.ReencryptAsync(Small with
        {
            DegreeOfParallelism = 1,
            CutOffTimeout = TimeSpan.Zero,
            SampleSize = 0,
            FaultPoint = step =>
            {
                if (step == JobStep.Written && late++ == 0)
                {
                    Database.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
                }

                return ValueTask.CompletedTask;
            },
        });
        Assert.Equal(2, report.Rows);
        Assert.NotEqual(0, late);
    }
}

public sealed class PostgresJobLeaseTests() : JobLeaseTests("PostgreSQL")
{
    [Fact]
    public async Task A_batch_that_waited_on_the_server_for_longer_than_the_lease_is_sealed_again()
        => await AssertSealedAgainAsync(JobStep.Written);

    [Fact]
    public async Task A_retried_cell_that_waited_for_longer_than_the_lease_is_sealed_again()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        var whole = await CellAsync("b0");
        var broken = whole.ToArray();
        broken[^1] ^= 1;
        await PlantAsync(broken);
        Assert.Equal(1, (await keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero, SampleSize = 0 })).Quarantined);
        await PlantAsync(whole);

        await using var connection = Database.Connect();
        await connection.OpenAsync();
        var holder = await connection.BeginTransactionAsync();
        await using (var command = connection.CreateCommand())
        {
            command.CommandText = "SELECT 1 FROM \"Customers\" WHERE \"Branch\" = 'b0' FOR UPDATE";
            await command.ExecuteNonQueryAsync();
        }

        var retrying = keys.RetryQuarantineAsync();
        while (!retrying.IsCompleted && await Database.ScalarAsync("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") is not > 0L)
        {
            await Task.Yield();
        }

        await RetireElsewhereAsync();
        await holder.DisposeAsync();
        Assert.Equal((1, 0), ((await retrying).Moved, (await retrying).Kept.Count));
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 3)).Id, await KeyOfCellAsync("b0"));
    }
}

/// <summary>The job's own writes stand on the sealing lease like any other.</summary>
public abstract class JobLeaseTests(string provider) : LifecycleFixture(provider)
{
    [Fact]
    public async Task A_batch_that_waited_for_its_transaction_for_longer_than_the_lease_is_sealed_again()
        => await AssertSealedAgainAsync(JobStep.KeysLoaded);

    private protected async Task AssertSealedAgainAsync(JobStep pause)
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        Guid? committed = null;
        var isRetired = false;
        await keys.ReencryptAsync(Small with
        {
            DegreeOfParallelism = 1,
            CutOffTimeout = TimeSpan.Zero,
            SampleSize = 0,
            FaultPoint = async step =>
            {
                if (step == pause && !isRetired)
                {
                    isRetired = true;
                    await RetireElsewhereAsync();
                }
                else if (step == JobStep.Committed)
                {
                    committed ??= await KeyOfCellAsync("b0");
                }
            },
        });
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 3)).Id, committed);
    }

    /// <summary>Another process rotates, and the lease after it is over.</summary>
    protected async Task RetireElsewhereAsync()
    {
        await using var other = New("b");
        await new EnvelopeKeys(other).RotateAsync(ScopeA);
        Database.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
    }
}
