using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqlitePlanCostTests() : PlanCostTests("SQLite");

public sealed class PostgresPlanCostTests() : PlanCostTests("PostgreSQL")
{
    [Fact]
    public async Task A_table_that_was_never_analysed_is_counted()
    {
        Assert.Equal(-1L, Convert.ToInt64(await Database.ScalarAsync("SELECT reltuples FROM pg_class WHERE relname = 'Items'"), System.Globalization.CultureInfo.InvariantCulture));
        await using var context = New();
        var cost = await new EnvelopeKeys(context).EstimateCensusAsync();
        Assert.Equal(Items + Cards, cost.Rows);
        Assert.True(cost.Bytes > 0);
    }

    [Fact]
    public async Task A_partitioned_table_is_as_large_as_its_partitions()
    {
        await Database.ExecuteAsync(
            """
            ALTER TABLE "Items" RENAME TO "Whole";
            CREATE TABLE "Items" (LIKE "Whole") PARTITION BY LIST ("TenantId");
            ALTER TABLE "Items" ADD PRIMARY KEY ("TenantId", "Id");
            CREATE TABLE "Items1" PARTITION OF "Items" FOR VALUES IN (1);
            CREATE TABLE "ItemsRest" PARTITION OF "Items" DEFAULT;
            INSERT INTO "Items" SELECT * FROM "Whole";
            """);
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        foreach (var analysed in new[] { false, true })
        {
            if (analysed)
            {
                await Database.ExecuteAsync("ANALYZE");
            }

            var cost = await keys.EstimateCensusAsync();
            Assert.Equal(Items + Cards, cost.Rows);
            Assert.True(cost.Bytes >= Convert.ToInt64(await Database.ScalarAsync("SELECT pg_table_size('\"Items1\"') + pg_table_size('\"ItemsRest\"')"), System.Globalization.CultureInfo.InvariantCulture), $"{cost.Bytes} bytes");
        }

        Assert.Equal(Items, (await keys.PlanReencryptionAsync()).Tables.Single(t => t.Table == "Items").Rows);
    }
}

/// <summary>What a plan says of calls and time, against what the job then does.</summary>
public abstract class PlanCostTests(string provider) : IAsyncLifetime
{
    protected const int Items = 40;
    protected const int Cards = 6;

    private readonly ScriptedKeyService _service = new();

    private protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        Database.KeyService = _service;
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(0, Items).Select(n => new Item { Id = n, Number = n, TenantId = 1 + (n % 3), First = $"f{n}", Second = $"s{n}" }));
        context.AddRange(Enumerable.Range(0, Cards).Select(n => new Card { Id = n, Number = n, TenantId = 1 + (n % 2), First = $"f{n}" }));
        await context.SaveChangesAsync();
        await Retirement.RotateAllAsync(context, "test");
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Fact]
    public async Task A_cold_process_makes_the_calls_that_were_planned_and_generates_no_key()
    {
        Forget();
        int planned, generated = _service.Generated;
        await using (var context = New(Live))
        {
            planned = (await new EnvelopeKeys(context).PlanReencryptionAsync()).KeyServiceCalls;
        }

        Forget();
        var before = _service.Unwrapped;
        await using var job = New(Live);
        var report = await new EnvelopeKeys(job).ReencryptAsync(JobFaultTests.Small with { DegreeOfParallelism = 1 });
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((planned, generated), (_service.Unwrapped - before, _service.Generated));
        Assert.InRange(planned, 8, 16);
    }

    [Fact]
    public async Task A_dry_run_generates_no_key_and_a_key_that_is_refused_is_shown_as_unreadable()
    {
        Forget();
        var generated = _service.Generated;
        _service.Failure = () => new KeyRefusedException("The key service says no.");
        await using var context = New();
        var refused = await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(() => new EnvelopeKeys(context).PlanReencryptionAsync());
        Assert.IsType<KeyRefusedException>(refused);

        // The mac key opens, without which no row of the ring is believed; the tenants' keys do not.
        _service.Failure = null;
        await new EnvelopeKeys(context).ListAsync();
        _service.Failure = () => new KeyRefusedException("The key service says no.");
        var plan = await new EnvelopeKeys(context).PlanReencryptionAsync();
        Assert.Equal(generated, _service.Generated);
        Assert.All(plan.Unreadable, u => Assert.Equal(nameof(KeyRefusedException), u.Error));
        Assert.Superset(plan.Keys.Where(k => k.Cells > 0).Select(k => k.Id).ToHashSet(), plan.Unreadable.Select(u => u.Id).ToHashSet());
        Assert.Contains("UNREADABLE: key ", plan.ToText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_time_keeps_to_the_limits_that_the_job_is_given()
    {
        await using var context = New(e => e.UseTimeProvider(TimeProvider.System));
        var keys = new EnvelopeKeys(context);
        var free = await keys.PlanReencryptionAsync();
        var held = await keys.PlanReencryptionAsync(new ReencryptionOptions { MaxRowsPerSecond = 1 });
        Assert.True(free.RowsPerSecond > 1, free.ToText());
        Assert.Equal((1.0, TimeSpan.FromSeconds(Items + Cards)), (held.RowsPerSecond, held.Duration));
        Assert.Contains("MaxRowsPerSecond", held.RateSource, StringComparison.Ordinal);

        var paused = await keys.PlanReencryptionAsync(new ReencryptionOptions { MaxRowsPerSecond = 1, BatchSize = 23, Pause = TimeSpan.FromMinutes(1), DegreeOfParallelism = 1 });
        Assert.Equal(TimeSpan.FromSeconds(Items + Cards) + TimeSpan.FromMinutes(2), paused.Duration);
    }

    [Fact]
    public async Task What_a_census_takes_says_what_that_rests_on()
    {
        await using (var context = New())
        {
            // By a clock that stands still the sample took no time.
            var cost = await new EnvelopeKeys(context).EstimateCensusAsync();
            Assert.Equal((TimeSpan.FromSeconds(cost.Bytes / (100.0 * 1024 * 1024)), "at 100 MiB/s, assumed; a sample of rows was faster"), (cost.Duration, cost.Source));
        }

        await using var slow = New(e => e.UseTimeProvider(new SlowClock()));
        var measured = await new EnvelopeKeys(slow).EstimateCensusAsync();
        Assert.Equal($"as long as a sample of {Items} row(s) of Items took", measured.Source);
        Assert.InRange(measured.Duration, TimeSpan.FromSeconds((Items + Cards) / (double)Items), TimeSpan.FromMinutes(1));
        Assert.Equal(Items + Cards, measured.Rows);
        Assert.Contains(measured.Source, measured.ToText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_scope_whose_only_key_is_an_old_kek_is_planned_and_rotated()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new LoadContext(database.Options());
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(0, 4).Select(n => new Card { Id = n, Number = n, TenantId = 1, First = $"f{n}" }));
        await context.SaveChangesAsync();
        database.Time.Advance(TimeSpan.FromDays(366));
        var keys = new EnvelopeKeys(context);
        Assert.DoesNotContain(await keys.ListAsync(), k => k.Purpose == KeyPurpose.Field && k.Scope == EnvelopeScope.Tenant(1).Value);

        var kek = Assert.Single((await keys.PlanReencryptionAsync()).Keys, k => k.Scope == EnvelopeScope.Tenant(1).Value);

        Assert.Equal((StaleReason.Expired, KeyPurpose.Kek, 4L), (kek.Reason, kek.Purpose, kek.Cells));
        Assert.Contains(await keys.RotateExpiredAsync(TimeSpan.FromDays(365)), k => k.Purpose == KeyPurpose.Kek && k.Scope == kek.Scope);
        var plan = await keys.PlanReencryptionAsync();
        Assert.Equal((4, 4L), (plan.RowKeys, plan.Rows));
        Assert.Equal(4, (await keys.ReencryptAsync(JobFaultTests.Small with { CutOffTimeout = TimeSpan.Zero })).Rows);
    }

    [Fact]
    public async Task Rows_leave_a_former_root_key_and_no_other_id_is_taken()
    {
        var former = Database.KeyService;
        var formerId = (await former.DescribeRootKeyAsync(default)).RootKeyId;
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("reencrypt", "--from-kms-key", "arn:aws:kms:eu-central-1:1:key/none"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("reencrypt", "--from-kms-key", ""));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("reencrypt", "--from-kms-key", formerId));

        Database.KeyService = new TwoRootKeys(new EfEnvelope.KeyManagement.InMemoryKeyManagementService(), former);
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        var active = (await keys.ListAsync()).Where(k => k.State == KeyState.Active && k.Purpose is KeyPurpose.Field or KeyPurpose.Kek).ToList();
        Assert.All((await keys.PlanReencryptionAsync()).Keys.Where(k => k.State == KeyState.Active), k => Assert.Equal(StaleReason.OtherRootKey, k.Reason));

        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("reencrypt", "--from-kms-key", formerId, "--cut-off-timeout", "30"));

        var ring = await keys.ListAsync();
        Assert.DoesNotContain(ring, k => k.State == KeyState.Active && k.RootKeyId == formerId && k.Purpose is KeyPurpose.Field or KeyPurpose.Kek && k.State == KeyState.Active);
        Assert.All(active, k => Assert.Equal(KeyState.Deactivated, ring.Single(r => r.Id == k.Id).State));
        Assert.Equal(0, (await keys.TakeCensusAsync()).StaleCells);
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("reencrypt", "--from-kms-key", formerId, "--cut-off-timeout", "30"));
    }

    [Theory]
    [InlineData("EnvelopeJobs", "reencrypt", "--dry-run")]
    [InlineData("EnvelopeJobUnits", "reencrypt", "--dry-run")]
    [InlineData("EnvelopeQuarantine", "quarantine", "list")]
    [InlineData("EnvelopeQuarantine", "quarantine", "retry")]
    [InlineData("EnvelopeQuarantine", "quarantine", "release", "--id", "00000000-0000-0000-0000-000000000001", "--reason", "x")]
    public async Task Without_its_table_a_verb_says_which_migration_is_missing(string table, params string[] verb)
    {
        await Database.ExecuteAsync($"DROP TABLE \"{table}\"");
        using var printed = new StringWriter();
        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(verb, () => New(), AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(printed) })));
        Assert.Contains(table, printed.ToString(), StringComparison.Ordinal);
        Assert.Contains("dotnet ef migrations add", printed.ToString(), StringComparison.Ordinal);
    }

    /// <summary>The ring keeps the longest lease that any process sealed with, and a job waits for it: all have the verb's.</summary>
    private protected LoadContext New(Action<EnvelopeOptionsBuilder>? configure = null) => new(Database.Options(e =>
    {
        e.With(o => o with { SealingLease = TimeSpan.FromSeconds(1) });
        configure?.Invoke(e);
    }));

    private static void Live(EnvelopeOptionsBuilder envelope) => envelope.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) });

    private Task<int> RunAsync(params string[] verb)
        => EnvelopeCommandLine.RunAsync(verb, () => New(Live), AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(TextWriter.Null) }));

    /// <summary>As a process that has no key yet.</summary>
    private void Forget()
    {
        using var connection = Database.Connect();
        KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
    }

    /// <summary>A second passes between any two looks at it.</summary>
    private sealed class SlowClock : TimeProvider
    {
        private long _seconds;

        public override long GetTimestamp() => Interlocked.Increment(ref _seconds) * TimestampFrequency;
    }
}
