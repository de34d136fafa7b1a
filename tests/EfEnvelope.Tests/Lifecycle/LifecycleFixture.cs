using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

/// <summary>Two tenants with customers and cards, and what a thief or an operator does to their keys.</summary>
public abstract class LifecycleFixture(string provider) : IAsyncLifetime
{
    protected static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    protected static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    protected static readonly ReencryptionOptions Small = new() { BatchSize = 50, UnitSize = 100, CutOffTimeout = TimeSpan.FromMinutes(5) };

    /// <summary>Waits for no whole lease: one is over when the test says so, or not.</summary>
    protected static readonly ReencryptionOptions Short = Small with { CutOffTimeout = TimeSpan.FromSeconds(30) };

    protected static readonly EnvelopeScope ScopeA = EnvelopeScope.Tenant(TenantA);

    protected TestDatabase Database { get; private set; } = null!;

    protected bool IsPostgres => provider == "PostgreSQL";

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    /// <summary>On the test's clock: windows and leases pass when the test says so.</summary>
    protected BankContext New(string process = "a")
        => new(Database.Options(e => e.With(o => o with { MaxCachedKeys = 1000 + process[0] })));

    /// <summary>On the machine's clock, made quick, with the shortest lease: for work that waits for the cut-off by itself.</summary>
    protected BankContext Live(string process = "a", TimeSpan? lease = null)
        => new(Database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = lease ?? TimeSpan.FromSeconds(1), MaxCachedKeys = 1000 + process[0] })));

    protected async Task SeedAsync(BankContext context, int customers, int cards)
    {
        for (var n = 0; n < customers; n++)
        {
            context.Add(new Customer { TenantId = n % 2 == 0 ? TenantA : TenantB, Branch = $"b{n}", FullName = $"Name {n}", Ssn = "canary-ssn", Note = $"note {n}", Profile = new Profile { Secret = $"hush {n}" } });
        }

        for (var n = 0; n < cards; n++)
        {
            context.Add(new PaymentCard { TenantId = TenantA, Label = $"c{n}", Number = $"4111-{n}" });
        }

        await context.SaveChangesAsync();
    }

    /// <summary>Far enough that every process asks the ring again.</summary>
    protected void PassLease() => Database.Time.Advance(TimeSpan.FromMinutes(22));

    protected static async Task<KeyInfo> KeyAsync(BankContext context, string scope, int version = 1, KeyPurpose purpose = KeyPurpose.Field)
        => (await new EnvelopeKeys(context).ListAsync(includeRowKeys: true)).Single(k => k.Scope == scope && k.Version == version && k.Purpose == purpose);

    /// <summary>Tenant A's first field key, rotated away, with no cell left; and a stolen cell that still names it.</summary>
    protected async Task<(KeyInfo Key, byte[] Stolen)> RetireAsync(BankContext context)
    {
        var stolen = await CellAsync("b0");
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        PassLease();
        var report = await keys.ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        return (await KeyAsync(context, ScopeA.Value), stolen);
    }

    protected async Task<byte[]> CellAsync(string branch) => (byte[])(await Database.ScalarAsync($"SELECT \"FullName\" FROM \"Customers\" WHERE \"Branch\" = '{branch}'"))!;

    protected async Task<Guid> KeyOfCellAsync(string branch) => EnvelopeCodec.TryReadKeyId(await CellAsync(branch), out var id) ? id : throw new InvalidOperationException("no envelope");

    protected Task PlantAsync(byte[] cell, string branch = "b0") => Database.ExecuteAsync($"UPDATE \"Customers\" SET \"FullName\" = {Blob(cell)} WHERE \"Branch\" = '{branch}'");

    protected async Task<byte[]> WrappedAsync(Guid key)
        => (byte[])(await Database.ScalarAsync($"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE {(provider == "PostgreSQL" ? $"\"Id\" = '{key}'" : $"\"Id\" = '{key.ToString().ToUpperInvariant()}'")}"))!;

    protected string IdIs(Guid key) => provider == "PostgreSQL" ? $"\"Id\" = '{key}'" : $"\"Id\" = '{key.ToString().ToUpperInvariant()}'";

    protected static Task<Customer> ReadAsync(BankContext context, string branch = "b0") => context.Customers.AsNoTracking().SingleAsync(c => c.Branch == branch);

    protected string Blob(byte[] bytes) => provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(bytes)}'::bytea" : $"x'{Convert.ToHexString(bytes)}'";
}
