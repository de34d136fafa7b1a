using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteReencryptionTests() : ReencryptionTests("SQLite");

public sealed class PostgresReencryptionTests() : ReencryptionTests("PostgreSQL");

/// <summary>Rotate, re-encrypt, prove; compromise to the end.</summary>
public abstract class ReencryptionTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");
    private static readonly ReencryptionOptions Small = new() { BatchSize = 7, UnitSize = 100, CutOffTimeout = TimeSpan.FromSeconds(30) };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task After_a_rotation_the_job_leaves_no_cell_under_the_old_key_and_every_value_as_it_was()
    {
        await SeedAsync(120);
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        var old = (await keys.ListAsync()).Single(k => k.Scope == EnvelopeScope.Tenant(TenantA).Value && k.Purpose == KeyPurpose.Field);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA), "yearly");
        var before = await keys.TakeCensusAsync();
        Assert.True(before.CountOf(old.Id) > 0);

        var reports = new List<ReencryptionProgress>();
        var report = await keys.ReencryptAsync(Small, new Recorder(reports));

        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(0, report.Census.CountOf(old.Id));
        Assert.Equal(0, report.Census.StaleCells);
        Assert.Equal(before.Cells, report.Census.Cells);
        Assert.Equal(0, report.Quarantined);
        Assert.True(reports.Count > 5);
        Assert.Equal(report.Rows, reports.Max(r => r.Done));
        await AssertAllAsync(120);

        var again = await keys.ReencryptAsync(Small);
        Assert.Equal((0L, true, null), (again.Rows, again.IsProven, again.NotProvenBecause));
    }

    [Fact]
    public async Task Other_tenants_rows_are_not_touched()
    {
        await SeedAsync(10);
        var before = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = 'b1'"))!;
        await using var context = New();
        await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(TenantA));
        await new EnvelopeKeys(context).ReencryptAsync(Small);
        Assert.Equal(before, (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = 'b1'"))!);
    }

    [Fact]
    public async Task A_compromised_key_never_seals_again_opens_until_its_rows_are_gone_and_then_is_refused()
    {
        await SeedAsync(20);
        var stolen = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = 'b0'"))!;
        Assert.True(EnvelopeCodec.TryReadKeyId(stolen, out var id));
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.ReportCompromisedAsync(id, "laptop stolen");

        await using (var writer = New())
        {
            writer.Add(Customer(TenantA, 500));
            await writer.SaveChangesAsync();
        }

        var fresh = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = 'b500'"))!;
        EnvelopeCodec.TryReadKeyId(fresh, out var used);
        Assert.NotEqual(id, used);
        await AssertAllAsync(20);
        await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(id));
        await Assert.ThrowsAsync<KeyInUseException>(() => keys.DestroyAsync(id));

        var report = await keys.ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        await keys.RevokeAsync(id);
        await AssertAllAsync(20);

        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"FullName\" = {Blob(stolen)} WHERE \"Branch\" = 'b0'");
        await using var reader = New();
        var error = await Assert.ThrowsAsync<KeyRevokedException>(() => reader.Customers.Where(c => c.Branch == "b0").ToListAsync());
        Assert.Equal(id, error.KeyId);
    }

    [Fact]
    public async Task Row_keys_follow_their_retired_kek()
    {
        await using (var context = New())
        {
            context.Cards.AddRange(Enumerable.Range(0, 30).Select(i => new PaymentCard { TenantId = TenantA, Number = $"4111-{i}", Label = $"L{i}" }));
            await context.SaveChangesAsync();
        }

        await using var operations = New();
        var keys = new EnvelopeKeys(operations);
        var old = (await keys.ListAsync(includeRowKeys: true)).Where(k => k.Scope.StartsWith("row:", StringComparison.Ordinal)).Select(k => k.Id).ToHashSet();
        Assert.Equal(30, old.Count);
        await keys.ReportCompromisedAsync(EnvelopeScope.Tenant(TenantA), "backup lost");
        var report = await keys.ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(0, old.Sum((await keys.TakeCensusAsync([.. old])).CountOf));
        Assert.Equal(30, Assert.Single(report.Census.Entries, e => e is { Table: "Cards", Column: "Number" }).Keys);
        await using var reader = New();
        Assert.Equal(Enumerable.Range(0, 30).Select(i => $"4111-{i}"), (await reader.Cards.OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
    }

    [Fact]
    public async Task A_cell_that_does_not_open_is_quarantined_and_the_others_go_on()
    {
        await SeedAsync(40);
        var cell = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = 'b4'"))!;
        cell[^1] ^= 1;
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"FullName\" = {Blob(cell)} WHERE \"Branch\" = 'b4'");
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA));
        var report = await keys.ReencryptAsync(Small);
        Assert.Equal(1, report.Quarantined);
        Assert.False(report.IsProven);
        Assert.Equal(1, report.Census.StaleCells);
        Assert.Equal(1L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeQuarantine\" WHERE \"ColumnName\" = 'FullName'")));
    }

    [Fact]
    public async Task A_cancelled_job_is_taken_up_where_it_stopped()
    {
        await SeedAsync(150);
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA));
        using var stop = new CancellationTokenSource();
        var seen = new List<ReencryptionProgress>();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => keys.ReencryptAsync(Small with { DegreeOfParallelism = 1, UnitLease = TimeSpan.FromSeconds(5) }, new Recorder(seen, () => stop.Cancel()), stop.Token));
        var done = seen.Max(s => s.Done);
        Assert.InRange(done, 1, 149);

        var report = await keys.ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        await AssertAllAsync(150);
    }

    [Fact]
    public async Task The_applications_write_wins_over_the_job()
    {
        await SeedAsync(60);
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA));
        var writing = Task.Run(async () =>
        {
            for (var n = 0; n < 60; n++)
            {
                await using var writer = New();
                var customer = await writer.Customers.SingleAsync(c => c.Branch == $"b{n}");
                customer.FullName = $"Written {n}";
                await writer.SaveChangesAsync();
            }
        });
        var report = await keys.ReencryptAsync(Small with { BatchSize = 3 });
        await writing;
        Assert.True(report.IsProven, report.NotProvenBecause);
        await using var reader = New();
        Assert.All(await reader.Customers.ToListAsync(), c => Assert.Equal($"Written {c.Branch[1..]}", c.FullName));
    }

    private string Blob(byte[] bytes) => provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(bytes)}'::bytea" : $"x'{Convert.ToHexString(bytes)}'";

    private BankContext New() => new(_database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));

    private async Task SeedAsync(int count)
    {
        await using var context = New();
        for (var n = 0; n < count; n++)
        {
            context.Add(Customer(n % 2 == 0 ? TenantA : TenantB, n));
        }

        await context.SaveChangesAsync();
    }

    private async Task AssertAllAsync(int count)
    {
        await using var context = New();
        for (var n = 0; n < count; n++)
        {
            var customer = await context.Customers.AsNoTracking().SingleAsync(c => c.Branch == $"b{n}");
            Assert.Equal(($"Name {n}", $"note {n}", $"hush {n}", $"S{n}"), (customer.FullName, customer.Note, customer.Profile!.Secret, customer.Devices.Single().Serial));
        }
    }

    private static Customer Customer(Guid tenant, int n) => new()
    {
        TenantId = tenant,
        Branch = $"b{n}",
        FullName = $"Name {n}",
        Ssn = "1",
        Note = $"note {n}",
        Profile = new Profile { Secret = $"hush {n}" },
        Devices = [new Device { Serial = $"S{n}" }],
    };

    private sealed class Recorder(List<ReencryptionProgress> reports, Action? each = null) : IProgress<ReencryptionProgress>
    {
        public void Report(ReencryptionProgress value)
        {
            lock (reports)
            {
                reports.Add(value);
            }

            each?.Invoke();
        }
    }
}
