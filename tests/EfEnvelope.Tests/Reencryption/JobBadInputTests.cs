using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobBadInputTests() : JobBadInputTests("SQLite")
{
    [Fact]
    public async Task A_full_disk_ends_the_job_with_an_error_and_costs_nothing()
    {
        await using var database = await JobDatabase.CreateAsync("SQLite");
        var target = database.Target();
        await Loader.RunAsync(target, 3_000, 2, ["Item"]);
        await JobFaultTests.RotateAsync(target);
        string[] verb = ["--", "reencrypt", "--json", "--batch-size", "1000", "--cut-off-timeout", "30"];
        await using (var job = ChildProcess.Start("envelope", target, verb, maximumFileBytes: 256 * 1024))
        {
            Assert.True(await job.ExitAsync(TimeSpan.FromSeconds(60)) == EnvelopeCommandLine.Failed, job.Output);
            Assert.Equal("failed", job.Event("finished")!.Value.GetProperty("outcome").GetString());
            Assert.Contains("The database failed", job.Event("finished")!.Value.GetProperty("notProvenBecause").GetString(), StringComparison.Ordinal);
        }

        Assert.True(await JobFaultTests.StaleAsync(target) > 0);
        await using (var job = ChildProcess.Start("envelope", target, verb))
        {
            Assert.True(await job.ExitAsync(TimeSpan.FromSeconds(60)) == EnvelopeCommandLine.Proven, job.Output);
        }

        Assert.Empty((await Verifier.RunAsync(target, new RowOracle(3_000), ["Item"])).Wrong);
    }
}

public sealed class PostgresJobBadInputTests() : JobBadInputTests("PostgreSQL")
{
    [Fact]
    public async Task A_full_disk_ends_the_job_with_an_error_and_costs_nothing()
    {
        // A server whose files cannot grow: every page that an update adds fails as on a full disk.
        await using var cluster = await PostgresCluster.StartAsync(initialize: "--wal-segsize=1");
        await using var database = JobDatabase.At(cluster.ConnectionString);
        var target = database.Target();
        await Loader.RunAsync(target, 5_000, 2, ["Item"]);
        await JobFaultTests.RotateAsync(target);
        await using (var ring = target.CreateContext())
        {
            await new EnvelopeKeys(ring).TakeCensusAsync();
        }

        await cluster.RestartAsync("fast", maximumFileBytes: 2 * 1024 * 1024);
        NpgsqlConnection.ClearAllPools();
        await using (var context = target.CreateContext())
        {
            var error = await Assert.ThrowsAsync<PostgresException>(() => new EnvelopeKeys(context).ReencryptAsync(JobFaultTests.Small with { BatchSize = 500 }));
            Assert.Contains("could not extend file", error.MessageText, StringComparison.Ordinal);
        }

        Assert.Equal(EnvelopeCommandLine.Failed, await EnvelopeCommandLine.RunAsync(["reencrypt"], () => target.CreateContext()));

        // Npgsql closes a connection after such an error: the ranges are given back all the same, and nobody waits for the end of their leases.
        await using (var connection = new NpgsqlConnection(target.ConnectionString))
        {
            await connection.OpenAsync();
            await using var claimed = new NpgsqlCommand("SELECT COUNT(*) FROM \"EnvelopeJobUnits\" WHERE \"State\" = 1", connection);
            Assert.Equal(0L, await claimed.ExecuteScalarAsync());
        }

        await cluster.RestartAsync("fast");
        NpgsqlConnection.ClearAllPools();
        await using var again = target.CreateContext();
        var report = await new EnvelopeKeys(again).ReencryptAsync(JobFaultTests.Small with { BatchSize = 500 });
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Empty((await Verifier.RunAsync(target, new RowOracle(5_000), ["Item"])).Wrong);
    }
}

/// <summary>What issue and operators call bad input: a clear error or a listed exception; the rest goes on, nothing is lost. And G33.</summary>
public abstract partial class JobBadInputTests(string provider) : IAsyncLifetime
{
    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task One_percent_of_poisoned_rows_goes_to_quarantine_and_the_job_goes_on()
    {
        byte[] foreign;
        await Loader.RunAsync(_target, 600, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
        await using (var connection = _target.Connect())
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = "SELECT \"Second\" FROM \"Items\" WHERE \"Number\" = 550";
            foreign = EnvelopeProtector.Disarm((string)(await command.ExecuteScalarAsync())!);
        }

        foreach (var number in new[] { 100L, 200, 300, 400, 500, 550 })
        {
            var cell = await CellAsync(number);
            cell = (number % 300) switch
            {
                100 => [.. cell[..^1], (byte)(cell[^1] ^ 1)],
                200 => cell[..40],
                _ => number == 300 ? [.. cell[..30], (byte)(cell[30] ^ 128), .. cell[31..]] : foreign,
            };
            await ExecuteAsync($"UPDATE \"Items\" SET \"First\" = {(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")} WHERE \"Number\" = {number}");
        }

        Assert.Equal(EnvelopeCommandLine.Quarantined, await EnvelopeCommandLine.RunAsync(["reencrypt"], () => _target.CreateContext()));
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        var quarantined = await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeQuarantine\"");
        var stale = (await keys.TakeCensusAsync()).StaleCells;
        Assert.Equal((6L, 6L), (quarantined, stale));
        Assert.Equal(600, await ScalarAsync("SELECT SUM(\"Rows\") FROM \"EnvelopeJobUnits\""));

        // A second run finds the same cells, lists each of them once, and is not done either.
        Assert.Equal(EnvelopeCommandLine.Quarantined, await EnvelopeCommandLine.RunAsync(["reencrypt"], () => _target.CreateContext()));
        Assert.Equal(quarantined, await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeQuarantine\""));

        // The application's own write heals a row.
        await using (var writer = _target.CreateContext())
        {
            await writer.Items.Where(i => i.TenantId == Values.Tenant(100, 2) && i.Number == 100).ExecuteUpdateAsync(set => set.SetProperty(i => i.First, "healed"));
        }

        Assert.Equal(stale - 1, (await keys.TakeCensusAsync()).StaleCells);
    }

    [Fact]
    public async Task A_database_without_the_jobs_tables_says_which_migration_is_missing()
    {
        await Loader.RunAsync(_target, 20, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
        await ExecuteAsync("DROP TABLE \"EnvelopeJobs\"");
        await using var context = _target.CreateContext();
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).ReencryptAsync(JobFaultTests.Small));
        Assert.Contains("EnvelopeJobs", error.Message, StringComparison.Ordinal);
        Assert.Contains("dotnet ef migrations add", error.Message, StringComparison.Ordinal);
        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["reencrypt"], () => _target.CreateContext()));
        Assert.Empty((await Verifier.RunAsync(_target, new RowOracle(20), ["Item"])).Wrong);
    }

    [Fact]
    public async Task A_compromise_whose_job_cannot_begin_says_that_the_keys_are_marked()
    {
        await Loader.RunAsync(_target, 20, 2, ["Item"]);
        await ExecuteAsync("DROP TABLE \"EnvelopeJobs\"");
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.CompromiseAsync(KeySelection.Scope(EnvelopeScope.Tenant(1)), "laptop stolen"));
        Assert.StartsWith("The selected keys are marked compromised", error.Message, StringComparison.Ordinal);
        Assert.Contains("EnvelopeJobs", error.Message, StringComparison.Ordinal);
        Assert.Contains(await keys.ListAsync(), k => k is { Scope: "tenant:1", State: KeyState.Compromised });
    }

    [Fact]
    public async Task A_survey_of_a_compromise_over_tables_that_are_not_there_says_so()
    {
        await Loader.RunAsync(_target, 20, 2, ["Item"]);
        await ExecuteAsync("ALTER TABLE \"Items\" RENAME TO \"Elsewhere\"");
        await using var context = _target.CreateContext();
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).PreviewCompromiseAsync(KeySelection.Scope(EnvelopeScope.Tenant(1))));
        Assert.Contains("Items", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_that_does_not_match_the_schema_is_named()
    {
        await Loader.RunAsync(_target, 20, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
        await ExecuteAsync("ALTER TABLE \"Items\" RENAME COLUMN \"Second\" TO \"Other\"");
        await using var context = _target.CreateContext();
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).ReencryptAsync(JobFaultTests.Small));
        Assert.Contains("does not match the model", error.Message, StringComparison.Ordinal);
        Assert.Contains("Second", error.Message, StringComparison.Ordinal);
        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["reencrypt"], () => _target.CreateContext()));
        await ExecuteAsync("ALTER TABLE \"Items\" RENAME COLUMN \"Other\" TO \"Second\"");
        Assert.True((await new EnvelopeKeys(context).ReencryptAsync(JobFaultTests.Small)).IsProven);
        Assert.Empty((await Verifier.RunAsync(_target, new RowOracle(20), ["Item"])).Wrong);
    }

    [Fact]
    public async Task A_table_without_a_primary_key_is_listed_and_the_others_go_on()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new AdHocContext(
            database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }), AdHocContext.Cached), KeylessModel);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Kept { Secret = "kept" });
        await context.SaveChangesAsync();
        var cell = await new EnvelopeProtector(context).SealAsync((Logged l) => l.Secret, "logged", EnvelopeScope.Global);
        await database.ExecuteAsync($"INSERT INTO \"Log\" (\"Secret\") VALUES ({(provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(cell)}'::bytea" : $"x'{Convert.ToHexString(cell)}'")})");
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Global);
        var report = await keys.ReencryptAsync(JobFaultTests.Small);
        Assert.False(report.IsProven);
        Assert.Contains("without a primary key", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("Log", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Equal((1L, 1L), (report.Rows, report.Census.StaleCells));
    }

    [Fact]
    public async Task A_key_service_that_begins_to_refuse_between_two_batches_costs_what_it_refuses_until_it_permits_again()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        var service = new RefusingService();
        database.KeyService = service;
        LoadContext New() => new(database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));
        byte[] wrapped;
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(Enumerable.Range(0, 40).Select(n => new Item { Id = n, Number = n, TenantId = n < 20 ? 1 : 2, First = $"f{n}" }));
            await context.SaveChangesAsync();
            await Retirement.RotateAllAsync(context, "test");
            var old = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == EnvelopeScope.Tenant(2).Value && k.State == KeyState.Deactivated);
            wrapped = await RawAsync(database, $"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE {(provider == "PostgreSQL" ? $"\"Id\" = '{old.Id}'" : $"UPPER(\"Id\") = '{old.Id.ToString().ToUpperInvariant()}'")}");
        }

        await using (var connection = database.Connect())
        {
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using var job = New();
        var keys = new EnvelopeKeys(job);
        var report = await keys.ReencryptAsync(JobFaultTests.Small with
        {
            BatchSize = 10,
            DegreeOfParallelism = 1,
            FaultPoint = step =>
            {
                service.Refused ??= step == EfEnvelope.Reencryption.JobStep.Committed ? wrapped : null;
                return ValueTask.CompletedTask;
            },
        });
        Assert.Equal((20L, 0L, 20L, false), (report.Rows, report.Quarantined, report.Census.StaleCells, report.IsProven));
        Assert.Equal((20L, nameof(KeyRefusedException)), (Assert.Single(report.Blocked).Cells, report.Blocked[0].Reason));

        service.Refused = null;
        await using (var connection = database.Connect())
        {
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using var again = New();
        var whole = await new EnvelopeKeys(again).ReencryptAsync(JobFaultTests.Small);
        Assert.Equal((20L, true, 0), (whole.Rows, whole.IsProven, whole.Blocked.Count));
        Assert.Equal(Enumerable.Range(0, 40).Select(n => $"f{n}"), (await again.Items.AsNoTracking().OrderBy(i => i.Id).ToListAsync()).Select(i => i.First));
    }

    [Fact]
    public async Task A_key_that_the_key_service_refuses_half_way_is_listed_and_the_other_scopes_go_on()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        var service = new RefusingService();
        database.KeyService = service;
        LoadContext New() => new(database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(Enumerable.Range(0, 40).Select(n => new Item { Id = n, Number = n, TenantId = 1 + (n % 2), First = $"f{n}" }));
            await context.SaveChangesAsync();
            await Retirement.RotateAllAsync(context, "test");
            var old = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == EnvelopeScope.Tenant(1).Value && k.State == KeyState.Deactivated);
            service.Refused = await RawAsync(database, $"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE {(provider == "PostgreSQL" ? $"\"Id\" = '{old.Id}'" : $"UPPER(\"Id\") = '{old.Id.ToString().ToUpperInvariant()}'")}");
        }

        // A process that has no key yet.
        await using (var connection = database.Connect())
        {
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using var job = New();
        var report = await new EnvelopeKeys(job).ReencryptAsync(JobFaultTests.Small);
        Assert.Equal((20L, 0L, 20L), (report.Rows, report.Quarantined, report.Census.StaleCells));
        Assert.False(report.IsProven);
        Assert.Equal((20L, nameof(KeyRefusedException)), (Assert.Single(report.Blocked).Cells, report.Blocked[0].Reason));

        service.Refused = null;
        await using (var connection = database.Connect())
        {
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using var again = New();
        report = await new EnvelopeKeys(again).ReencryptAsync(JobFaultTests.Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(20, report.Rows);
    }

    [Theory]
    [InlineData("Item")]
    [InlineData("Card")]
    public async Task A_new_key_that_the_key_service_refuses_holds_up_no_other_scope(string kind)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        var service = new RefusingService();
        database.KeyService = service;
        LoadContext New() => new(database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));
        async Task ForgetAsync()
        {
            await using var connection = database.Connect();
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(Enumerable.Range(0, 40).Select(n => kind == "Item"
                ? (object)new Item { Id = n, Number = n, TenantId = 1 + (n % 4), First = $"f{n}" }
                : new Card { Id = n, Number = n, TenantId = 1 + (n % 4), First = $"f{n}" }));
            await context.SaveChangesAsync();
            await Retirement.RotateAllAsync(context, "test");
            var fresh = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == EnvelopeScope.Tenant(2).Value && k.State == KeyState.Active && k.Purpose is KeyPurpose.Field or KeyPurpose.Kek);
            service.Refused = await RawAsync(database, $"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE {(provider == "PostgreSQL" ? $"\"Id\" = '{fresh.Id}'" : $"UPPER(\"Id\") = '{fresh.Id.ToString().ToUpperInvariant()}'")}");
        }

        await ForgetAsync();
        await using (var job = New())
        {
            var report = await new EnvelopeKeys(job).ReencryptAsync(JobFaultTests.Small with { BatchSize = 40 });
            Assert.Equal((30L, 0L, 10L, false), (report.Rows, report.Quarantined, report.Census.StaleCells, report.IsProven));
            var blocked = Assert.Single(report.Blocked);
            Assert.Equal((10L, nameof(KeyRefusedException)), (blocked.Cells, blocked.Reason));
            Assert.EndsWith(EnvelopeScope.Tenant(2).Value, blocked.Scope, StringComparison.Ordinal);
            Assert.Contains("let the key service permit", report.NotProvenBecause, StringComparison.Ordinal);
        }

        service.Refused = null;
        await ForgetAsync();
        await using var again = New();
        var whole = await new EnvelopeKeys(again).ReencryptAsync(JobFaultTests.Small);
        Assert.True(whole.IsProven, whole.NotProvenBecause);
        Assert.Equal((10L, 0L), (whole.Rows, whole.Quarantined));
    }

    private static readonly Action<ModelBuilder> KeylessModel = model =>
    {
        model.Entity<Kept>();
        model.Entity<Logged>().HasNoKey().ToTable("Log");
        model.UseEnvelopeEncryption();
    };

    private static async Task<byte[]> RawAsync(TestDatabase database, string sql) => (byte[])(await database.ScalarAsync(sql))!;

    private async Task<byte[]> CellAsync(long number)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"First\" FROM \"Items\" WHERE \"Number\" = {number}";
        return (byte[])(await command.ExecuteScalarAsync())!;
    }

    private async Task<long> ScalarAsync(string sql)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        return Convert.ToInt64(await command.ExecuteScalarAsync(), System.Globalization.CultureInfo.InvariantCulture);
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        await command.ExecuteNonQueryAsync();
    }
}
