using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobThrottleTests() : JobThrottleTests("SQLite");

public sealed class PostgresJobThrottleTests() : JobThrottleTests("PostgreSQL")
{
    [Fact]
    public async Task A_server_without_replicas_is_asked_and_holds_nobody_back()
    {
        await using var database = await CreateAsync();
        await using var context = new LoadContext(database.Options());
        Assert.Equal(Rows, (await new EnvelopeKeys(context).ReencryptAsync(Small with { MaxReplicaLagBytes = 1 })).Rows);
    }
}

/// <summary>The job works inside its window only, and waits for replicas.</summary>
public abstract class JobThrottleTests(string provider)
{
    protected const int Rows = 40;

    protected static readonly ReencryptionOptions Small = new() { BatchSize = 10, UnitSize = 100, CutOffTimeout = TimeSpan.Zero, DegreeOfParallelism = 2 };

    private static readonly ReencryptionWindow Night = new(new TimeOnly(22, 0), new TimeOnly(6, 0), TimeZoneInfo.CreateCustomTimeZone("two", TimeSpan.FromHours(2), "two", "two"));

    [Theory]
    [InlineData("2026-01-01T19:59:59Z", false)]
    [InlineData("2026-01-01T20:00:00Z", true)]
    [InlineData("2026-01-01T23:00:00Z", true)]
    [InlineData("2026-01-02T03:59:59Z", true)]
    [InlineData("2026-01-02T04:00:00Z", false)]
    public void A_window_is_told_in_local_time_and_may_go_over_midnight(string at, bool isOpen)
        => Assert.Equal(isOpen, Night.IsOpen(DateTimeOffset.Parse(at, System.Globalization.CultureInfo.InvariantCulture)));

    [Fact]
    public async Task Outside_of_its_window_no_row_is_treated()
    {
        await using var database = await CreateAsync();
        database.Time.Advance(TimeSpan.FromHours(6));
        await using var context = new LoadContext(database.Options());
        var outside = 0;
        var job = Task.Run(() => new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            Window = Night,
            FaultPoint = step =>
            {
                outside += step == JobStep.Read && !Night.IsOpen(database.Time.GetUtcNow()) ? 1 : 0;
                return ValueTask.CompletedTask;
            },
        }));
        while (!job.IsCompleted)
        {
            // The window opens at 20:00 UTC, for eight hours: long enough for the job, whatever the machine's load.
            if (!Night.IsOpen(database.Time.GetUtcNow()))
            {
                database.Time.Advance(TimeSpan.FromMinutes(10));
            }

            await Task.WhenAny(job, Task.Delay(5));
        }

        Assert.Equal((Rows, 0), ((int)(await job).Rows, outside));
        Assert.True(database.Time.GetUtcNow().Hour >= 20);
    }

    [Fact]
    public async Task A_job_that_stops_at_the_end_of_its_window_is_taken_up_by_the_next()
    {
        await using var database = await CreateAsync();
        database.Time.Advance(TimeSpan.FromHours(21));
        await using var context = new LoadContext(database.Options());
        var committed = 0;
        var window = Night with { StopsOutside = true };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            Window = window,
            DegreeOfParallelism = 1,
            FaultPoint = step =>
            {
                if (step == JobStep.Committed && ++committed == 2)
                {
                    database.Time.Advance(TimeSpan.FromHours(8));
                }

                return ValueTask.CompletedTask;
            },
        }));
        Assert.Equal(2, committed);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new EnvelopeKeys(context).ReencryptAsync(Small with { Window = window }));
        database.Time.Advance(TimeSpan.FromHours(16));
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with { Window = window });
        Assert.Equal((Rows - 20L, 0L), (report.Rows, report.Census.StaleCells));
        Assert.Equal(Rows, report.Completion.JobRows);
    }

    [Fact]
    public async Task Workers_wait_while_a_replica_lags_behind()
    {
        await using var database = await CreateAsync();
        await using var context = new LoadContext(database.Options(e => e.UseTimeProvider(TimeProvider.System)));
        long lag = 5_000_000, asked = 0, early = 0;
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            MaxReplicaLagBytes = 1_000_000,
            ReplicaLag = () => ++asked < 3 ? lag : lag = 10,
            FaultPoint = step =>
            {
                early += step == JobStep.Read && lag > 1_000_000 ? 1 : 0;
                return ValueTask.CompletedTask;
            },
        });
        Assert.Equal((Rows, 0L), ((int)report.Rows, early));
        Assert.True(asked >= 3);
    }

    private protected async Task<TestDatabase> CreateAsync()
    {
        var database = await TestDatabase.CreateAsync(provider);
        await using var context = new LoadContext(database.Options());
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(0, Rows).Select(n => new Item { Id = n, Number = n, TenantId = 1, First = $"f{n}", Second = $"s{n}" }));
        await context.SaveChangesAsync();
        await Retirement.RotateAllAsync(context, "test");
        return database;
    }
}
