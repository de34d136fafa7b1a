using EfEnvelope.Cli;
using EfEnvelope.Cryptography;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Hosting;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;
using Spectre.Console;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteBlockedKeyTests() : BlockedKeyTests("SQLite")
{
    /// <summary>On one provider: the ring remembers the refusal for seconds, which the job waits for.</summary>
    [Fact]
    public async Task A_kek_that_is_permitted_again_at_once_sends_no_row_to_quarantine()
    {
        await SeedAsync("Card", 40);
        await RefuseAsync(2, KeyState.Deactivated);
        Service.Times = 1;
        await using var job = New();
        var report = await new EnvelopeKeys(job).ReencryptAsync(Small);
        Assert.Equal((1, 40L, 0L, 0, 0L), (Service.Refusals, report.Rows, report.Quarantined, report.Blocked.Count, report.Census.StaleCells));
    }
}

public sealed class PostgresBlockedKeyTests() : BlockedKeyTests("PostgreSQL");

/// <summary>Keys that cannot be used: their cells are passed over together, told by key, and taken up when the key service permits again.</summary>
public abstract class BlockedKeyTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    private protected static readonly ReencryptionOptions Small = JobFaultTests.Small with { BatchSize = 5, DegreeOfParallelism = 1, SampleSize = 0, CutOffTimeout = TimeSpan.Zero };

    private protected RefusingService Service { get; } = new();

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = Service;
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("Item", KeyState.Deactivated)]
    [InlineData("Item", KeyState.Active)]
    [InlineData("Card", KeyState.Deactivated)]
    [InlineData("Card", KeyState.Active)]
    public async Task A_refused_key_is_asked_for_a_few_times_in_a_whole_job_and_lists_no_cell(string kind, KeyState state)
    {
        await SeedAsync(kind, 40);
        await RefuseAsync(2, state);
        await using (var job = New())
        {
            var passes = 0;
            var last = new LastProgress();
            var report = await new EnvelopeKeys(job).ReencryptAsync(Small with { FaultPoint = step => Count(step, ref passes) }, last);
            Assert.Equal((30L, 0L, TimeSpan.Zero, 1), (last.Value!.Done, last.Value.ToDo, last.Value.TimeLeft, last.Value.Blocked));
            Assert.Equal((30L, 0L, 10L, false, 1), (report.Rows, report.Quarantined, report.Census.StaleCells, report.IsProven, passes));
            var blocked = Assert.Single(report.Blocked);
            Assert.Equal((10L, nameof(KeyRefusedException)), (blocked.Cells, blocked.Reason));
            Assert.EndsWith(EnvelopeScope.Tenant(2).Value, blocked.Scope, StringComparison.Ordinal);

            // Logged, and shown by the health check: whose keys they are is not.
            Assert.Contains("10 of them passed over because keys of 1 scope(s) cannot be used", report.NotProvenBecause, StringComparison.Ordinal);
            Assert.DoesNotContain(EnvelopeScope.Tenant(2).Value, report.NotProvenBecause, StringComparison.Ordinal);
            Assert.InRange(Service.Refusals, 1, 6);
            Assert.Empty(await new EnvelopeKeys(job).ListQuarantineAsync());
        }

        Service.Refused = null;
        await ForgetAsync();
        await using var again = New();
        var whole = await new EnvelopeKeys(again).ReencryptAsync(Small);
        Assert.Equal((10L, 0, 0L), (whole.Rows, whole.Blocked.Count, whole.Census.StaleCells));
    }

    [Fact]
    public async Task A_job_that_passed_cells_over_says_so_in_every_form_and_is_proven_when_it_is_run_again()
    {
        await SeedAsync("Item", 8);
        await RefuseAsync(2, KeyState.Active);
        await using (var job = New())
        {
            var report = await new EnvelopeKeys(job).ReencryptAsync(Small);
            Assert.Equal(report.Blocked, report.Completion.Blocked);
            Assert.Contains("PASSED OVER: 2 cell(s)", report.Completion.ToText(), StringComparison.Ordinal);
            Assert.True((await new EnvelopeKeys(job).VerifyReportAsync(report.Completion.ToJson())).IsGenuine);
        }

        // Still refused: the exit code is that of a job that is to be run again.
        await ForgetAsync();
        using var printed = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(printed) });
        Assert.Equal(EnvelopeCommandLine.Stopped, await EnvelopeCommandLine.RunAsync(["reencrypt", "--json"], New, console));
        Assert.Contains("\"blocked\":[{\"keyId\"", printed.ToString(), StringComparison.Ordinal);

        Service.Refused = null;
        await ForgetAsync();
        await using var again = New();
        var whole = await new EnvelopeKeys(again).ReencryptAsync(Small with { CutOffTimeout = TimeSpan.FromSeconds(30) });
        Assert.True(whole.IsProven, whole.NotProvenBecause);
        Assert.Equal((2L, 0), (whole.Rows, whole.Blocked.Count));
        Assert.Null(whole.Completion.Blocked);
    }

    [Fact]
    public async Task A_row_that_the_application_wrote_meanwhile_is_visited_again_beside_listed_cells_of_a_blocked_key()
    {
        await SeedAsync("Item", 12);
        // A former version listed the cells of the key that is refused now, one of them twice.
        await RefuseAsync(2, KeyState.Deactivated);
        foreach (var number in new[] { 1, 1, 5, 9 })
        {
            await ListAsync(number);
        }

        var stolen = await CellAsync(2);
        var once = false;
        await using var job = New();
        var keys = new EnvelopeKeys(job);
        var report = await keys.ReencryptAsync(Small with
        {
            FaultPoint = async step =>
            {
                if (step == JobStep.Worked && !once)
                {
                    once = true;
                    await WriteAsync(2, stolen);
                }
            },
        });
        Assert.Equal((3L, 3L, false), (report.Census.StaleCells, report.Quarantined, report.IsProven));
        Assert.Equal(3, Assert.Single(report.Blocked).Cells);
        Assert.Equal(["[1]", "[5]", "[9]"], (await keys.ListQuarantineAsync()).Select(c => c.PrimaryKey).Order());
    }

    [Fact]
    public async Task A_cell_that_a_former_version_listed_twice_is_listed_once_and_keeps_its_release()
    {
        await SeedAsync("Item", 8);
        await PoisonAsync(3);
        await ListAsync(3);
        await ListAsync(3, released: true);
        await ListAsync(4);
        await using var job = New();
        var keys = new EnvelopeKeys(job);
        var report = await keys.ReencryptAsync(Small);
        Assert.Equal((7L, 1L, 1L), (report.Rows, report.Quarantined, report.Census.StaleCells));
        Assert.Empty(await keys.ListQuarantineAsync());
        Assert.Equal("[3]", Assert.Single(await keys.ListQuarantineAsync(includeReleased: true)).PrimaryKey);
    }

    [Fact]
    public async Task A_poisoned_cell_under_a_blocked_key_is_quarantined_when_the_key_is_permitted_again()
    {
        await SeedAsync("Item", 8);
        await PoisonAsync(1);
        await RefuseAsync(2, KeyState.Deactivated);
        await using (var job = New())
        {
            var report = await new EnvelopeKeys(job).ReencryptAsync(Small);
            Assert.Equal((6L, 0L, 2L), (report.Rows, report.Quarantined, Assert.Single(report.Blocked).Cells));
        }

        Service.Refused = null;
        await ForgetAsync();
        await using var again = New();
        var whole = await new EnvelopeKeys(again).ReencryptAsync(Small);
        Assert.Equal((1L, 1L, 0), (whole.Rows, whole.Quarantined, whole.Blocked.Count));
    }

    [Fact]
    public async Task A_scheduled_run_that_passed_cells_over_is_not_made_again_with_every_interval_but_when_it_is_asked_for()
    {
        await SeedAsync("Item", 8);
        await RefuseAsync(2, KeyState.Deactivated);
        var time = new FakeTimeProvider(DateTimeOffset.Parse("2026-03-01T12:00:00Z", System.Globalization.CultureInfo.InvariantCulture));
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.Services.AddScoped(_ => New());
        builder.Services.AddEnvelopeReencryption<LoadContext>(o => (o.Job, o.Jitter, o.QuarantineInterval) = (Small, TimeSpan.Zero, TimeSpan.FromHours(5)));
        using var host = builder.Build();
        await host.StartAsync();
        var schedule = host.Services.GetRequiredService<ReencryptionSchedule<LoadContext>>();
        var first = await ScheduledReencryptionTests.UntilAsync(time, schedule, s => s is { LastOutcome: ReencryptionOutcome.NotProven, IsRunning: false });
        Assert.Equal((6L, 1), (first.LastReport!.Rows, first.LastReport.Blocked.Count));
        var saved = await ScheduledReencryptionTests.UntilAsync(time, schedule, s => s.LastStartedAt > first.LastStartedAt && !s.IsRunning);
        Assert.Same(first.LastReport, saved.LastReport);
        Assert.Equal(ReencryptionOutcome.NotProven, saved.LastOutcome);
        var later = await ScheduledReencryptionTests.UntilAsync(time, schedule, s => !ReferenceEquals(s.LastReport, first.LastReport) && !s.IsRunning);
        Assert.Equal(ReencryptionOutcome.NotProven, later.LastOutcome);
        Assert.InRange(later.LastStartedAt!.Value - first.LastEndedAt!.Value, TimeSpan.FromHours(5), TimeSpan.FromHours(7));

        Service.Refused = null;
        await ForgetAsync();
        schedule.RequestRun();
        var whole = await ScheduledReencryptionTests.UntilAsync(time, schedule, s => !ReferenceEquals(s.LastReport, later.LastReport), TimeSpan.Zero);
        Assert.Equal((2L, 0), (whole.LastReport!.Rows, whole.LastReport.Blocked.Count));
        await host.StopAsync();
    }

    private sealed class LastProgress : IProgress<ReencryptionProgress>
    {
        public ReencryptionProgress? Value { get; private set; }

        public void Report(ReencryptionProgress value) => Value = value;
    }

    private static ValueTask Count(JobStep step, ref int passes)
    {
        passes += step == JobStep.Counted ? 1 : 0;
        return ValueTask.CompletedTask;
    }

    private protected LoadContext New() => new(_database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));

    /// <summary>Rows of four tenants, all keys rotated.</summary>
    private protected async Task SeedAsync(string kind, int rows)
    {
        await using var context = New();
        context.AddRange(Enumerable.Range(0, rows).Select(n => kind == "Item"
            ? (object)new Item { Id = n, Number = n, TenantId = 1 + (n % 4), First = $"f{n}" }
            : new Card { Id = n, Number = n, TenantId = 1 + (n % 4), First = $"f{n}" }));
        await context.SaveChangesAsync();
        await Retirement.RotateAllAsync(context, "test");
    }

    /// <summary>The key service refuses a tenant's key from now on, in a process that holds none.</summary>
    private protected async Task RefuseAsync(int tenant, KeyState state)
    {
        await using (var context = New())
        {
            var key = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == EnvelopeScope.Tenant(tenant).Value && k.State == state && k.Purpose is KeyPurpose.Field or KeyPurpose.Kek);
            Service.Refused = (byte[])(await _database.ScalarAsync($"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE {(provider == "PostgreSQL" ? $"\"Id\" = '{key.Id}'" : $"UPPER(\"Id\") = '{key.Id.ToString().ToUpperInvariant()}'")}"))!;
        }

        await ForgetAsync();
    }

    private async Task ForgetAsync()
    {
        await using var connection = _database.Connect();
        KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
    }

    /// <summary>An entry as the former version wrote it.</summary>
    private async Task ListAsync(int number, bool released = false)
    {
        var id = provider == "PostgreSQL" ? $"'{Guid.NewGuid()}'" : $"'{Guid.NewGuid().ToString().ToUpperInvariant()}'";
        await _database.ExecuteAsync($"INSERT INTO \"EnvelopeQuarantine\" (\"Id\", \"JobId\", \"TableName\", \"ColumnName\", \"PrimaryKey\", \"Reason\", \"FirstSeenAt\", \"ReleasedAt\") VALUES ({id}, {id}, 'Items', 'First', '[{number}]', 'KeyRefusedException', 1, {(released ? "2" : "NULL")})");
    }

    private async Task<byte[]> CellAsync(int number) => (byte[])(await _database.ScalarAsync($"SELECT \"First\" FROM \"Items\" WHERE \"Id\" = {number}"))!;

    private Task WriteAsync(int number, byte[] cell)
        => _database.ExecuteAsync($"UPDATE \"Items\" SET \"First\" = {(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")} WHERE \"Id\" = {number}");

    private async Task PoisonAsync(int number)
    {
        var cell = await CellAsync(number);
        await WriteAsync(number, [.. cell[..^1], (byte)(cell[^1] ^ 1)]);
    }
}
