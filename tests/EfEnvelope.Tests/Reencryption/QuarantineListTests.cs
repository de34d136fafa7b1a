using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteQuarantineListTests() : QuarantineListTests("SQLite")
{
    /// <summary>SQLite orders ids as text; its provider writes and asks in upper case.</summary>
    [Fact]
    public async Task Entries_that_somebody_wrote_in_lower_case_keep_no_job_busy()
    {
        await SeedAsync(4);
        await ListAsync(("ffffffff-0000-4000-8000-000000000001", 1, null), ("ffffffff-0000-4000-8000-000000000002", 100, null));
        await using var context = New();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);
        Assert.Equal((4L, 0L, 0L), (report.Rows, report.Quarantined, report.Census.StaleCells));
        Assert.Empty(await new EnvelopeKeys(context).ListQuarantineAsync());
    }
}

public sealed class PostgresQuarantineListTests() : QuarantineListTests("PostgreSQL");

/// <summary>The list of cells that do not open, where it is long, or several runs write to it.</summary>
public abstract class QuarantineListTests(string provider) : IAsyncLifetime
{
    private protected static readonly ReencryptionOptions Small = JobFaultTests.Small with { BatchSize = 5, DegreeOfParallelism = 1, SampleSize = 0, CutOffTimeout = TimeSpan.Zero };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Entries_of_a_former_version_are_taken_over_page_by_page_released_ones_first()
    {
        // The second page of those that are not released fails; two cells are listed twice, one of them released.
        await ListAsync([.. Enumerable.Range(0, 598).Select(n => (Id(n + 10), n, (long?)null)), (Id(1), 999, null), (Id(2_000), 999, 2), (Id(3), 998, null), (Id(4), 998, null), (Id(9_999), 5_000, null)]);
        await ExecuteAsync(provider == "PostgreSQL"
            ? """
              CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stop'; END $$;
              CREATE TRIGGER refuse BEFORE UPDATE ON "EnvelopeQuarantine" FOR EACH ROW WHEN (NEW."PrimaryKey" = '[5000]') EXECUTE FUNCTION refuse()
              """
            : """CREATE TRIGGER refuse BEFORE UPDATE ON "EnvelopeQuarantine" WHEN NEW."PrimaryKey" = '[5000]' BEGIN SELECT RAISE(ABORT, 'stop'); END""");
        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(AdoptAsync);
        Assert.Equal(499L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeQuarantine\" WHERE \"Digest\" IS NOT NULL"), System.Globalization.CultureInfo.InvariantCulture));

        await ExecuteAsync(provider == "PostgreSQL" ? "DROP TRIGGER refuse ON \"EnvelopeQuarantine\"" : "DROP TRIGGER refuse");
        Assert.Equal(102, await AdoptAsync());
        Assert.Equal(0, await AdoptAsync());
        await using var context = New();
        var cells = await new EnvelopeKeys(context).ListQuarantineAsync(includeReleased: true);
        Assert.Equal((601, 601), (cells.Count, cells.Select(c => c.PrimaryKey).Distinct().Count()));
        Assert.Equal(("[999]", 4L), (Assert.Single(cells, c => c.ReleasedAt is not null).PrimaryKey, cells.Single(c => c.PrimaryKey == "[999]").FirstSeenAt.Ticks));
        Assert.Equal(2L, cells.Single(c => c.PrimaryKey == "[998]").FirstSeenAt.Ticks);
    }

    [Fact]
    public async Task Two_runs_that_take_up_what_a_third_left_do_not_keep_each_other_going()
    {
        await SeedAsync(12);
        await PoisonAsync(11);
        await StopAfterABatchAsync();

        // Second works the units off, and lists the cell; First, which knew the job before, tries it in one of its own; and from there on they take turns.
        using var turnOfFirst = new SemaphoreSlim(0);
        using var turnOfSecond = new SemaphoreSlim(0);
        var known = new TaskCompletionSource();
        var knowing = 0;
        var first = RunAsync(turnOfFirst, turnOfSecond, 2);
        var second = RunAsync(turnOfSecond, turnOfFirst, 1);
        var (firstReport, firstPasses) = await first;
        var (secondReport, secondPasses) = await second;
        Assert.Equal((2, 1), (firstPasses, secondPasses));
        foreach (var report in new[] { firstReport, secondReport })
        {
            Assert.Equal((1L, 1L, false), (report.Quarantined, report.Census.StaleCells, report.IsProven));
            Assert.Contains("1 of them in quarantine", report.NotProvenBecause, StringComparison.Ordinal);
        }

        async Task<(ReencryptionReport Report, int Passes)> RunAsync(SemaphoreSlim own, SemaphoreSlim other, int passesBeforeTheOther)
        {
            var (hasPlanned, passes) = (false, 0);
            try
            {
                await using var context = New();
                var report = await Task.Run(() => new EnvelopeKeys(context).ReencryptAsync(Small with
                {
                    FaultPoint = async step =>
                    {
                        if (step == JobStep.Planned && !hasPlanned)
                        {
                            hasPlanned = true;
                            if (Interlocked.Increment(ref knowing) == 2)
                            {
                                turnOfSecond.Release();
                                known.SetResult();
                            }

                            await known.Task;
                            await own.WaitAsync();
                        }

                        if (step == JobStep.Worked && ++passes >= passesBeforeTheOther)
                        {
                            other.Release();
                            await own.WaitAsync();
                        }
                    },
                }));
                return (report, passes);
            }
            finally
            {
                other.Release(100);
            }
        }
    }

    private protected LoadContext New() => new(_database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));

    /// <summary>Rows of four tenants, all keys rotated.</summary>
    private protected async Task SeedAsync(int rows)
    {
        await using var context = New();
        context.AddRange(Enumerable.Range(0, rows).Select(n => new Item { Id = n, Number = n, TenantId = 1 + (n % 4), First = $"f{n}" }));
        await context.SaveChangesAsync();
        await Retirement.RotateAllAsync(context, "test");
    }

    /// <summary>Entries as the former version wrote them: seen at the tick of their number, the last ones first.</summary>
    private protected Task ListAsync(params (string Id, int Number, long? ReleasedAt)[] entries)
        => ExecuteAsync($"INSERT INTO \"EnvelopeQuarantine\" (\"Id\", \"JobId\", \"TableName\", \"ColumnName\", \"PrimaryKey\", \"Reason\", \"FirstSeenAt\", \"ReleasedAt\") VALUES {string.Join(", ", entries.Select((e, i) => $"('{e.Id}', '{Id(1)}', 'Items', 'First', '[{e.Number}]', 'EnvelopeRefusedException', {entries.Length - i}, {e.ReleasedAt?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "NULL"})"))}");

    private static string Id(int number) => $"{number:X8}-0000-4000-8000-000000000000";

    private async Task<int> AdoptAsync()
    {
        await using var context = New();
        await using var connection = _database.Connect();
        await connection.OpenAsync();
        return await new QuarantineStore(EnvelopeSession.Of(context)).AdoptAsync(connection, default);
    }

    /// <summary>Leaves a job unfinished, with its unit given back.</summary>
    private async Task StopAfterABatchAsync()
    {
        using var stop = new CancellationTokenSource();
        await using var context = New();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new EnvelopeKeys(context).ReencryptAsync(
            Small with
            {
                FaultPoint = step =>
                {
                    if (step == JobStep.Committed)
                    {
                        stop.Cancel();
                    }

                    return ValueTask.CompletedTask;
                },
            },
            cancellationToken: stop.Token));
        Assert.Equal(ReencryptionJobState.Waiting, Assert.Single(await new EnvelopeKeys(context).ListJobsAsync()).State);
    }

    private async Task PoisonAsync(int number)
    {
        var cell = (byte[])(await _database.ScalarAsync($"SELECT \"First\" FROM \"Items\" WHERE \"Id\" = {number}"))!;
        cell[^1] ^= 1;
        await ExecuteAsync($"UPDATE \"Items\" SET \"First\" = {(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")} WHERE \"Id\" = {number}");
    }

    private Task ExecuteAsync(string sql) => _database.ExecuteAsync(sql);
}
