using EfEnvelope.Keys;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>A database of owners of two tenants, and what is asked of it after each test of a form of reading or writing.</summary>
public abstract class OwnerTests(string provider) : IAsyncLifetime
{
    protected static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    protected static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    protected string Provider => provider;

    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    protected OwnerContext New(Action<DbContextOptionsBuilder>? more = null) => new(Database.Options(more: more));

    protected static Owner NewOwner(Guid tenant, string code, int chips = 2) => new()
    {
        TenantId = tenant,
        Code = code,
        Name = $"canary {code}",
        Chips = [.. Enumerable.Range(0, chips).Select(n => new Chip { TenantId = tenant, Label = $"{code}/{n}", Serial = $"canary {code}/{n}", Pin = n })],
    };

    protected async Task<Owner> SaveAsync(Guid tenant, string code, int chips = 2)
    {
        await using var context = New();
        var owner = NewOwner(tenant, code, chips);
        context.Add(owner);
        await context.SaveChangesAsync();
        return owner;
    }

    /// <summary>Every ring of the process forgets what it holds of the database.</summary>
    protected async Task ColdAsync()
    {
        await using var connection = Database.Connect();
        KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
    }

    /// <summary>Read by a process that has no key yet: all rows open, each cell stands under its row's key, and nothing is in the clear.</summary>
    /// <param name="owners">Code, name and chips' serials of every owner, by code.</param>
    protected async Task AssertStoredAsync(params (string Code, string Name, string[] Serials)[] owners)
    {
        await ColdAsync();
        await using var context = New();
        var found = await context.Owners.AsNoTracking().Include(o => o.Chips.OrderBy(c => c.Label)).OrderBy(o => o.Code).ToListAsync();
        Assert.Equal(owners.Select(o => (o.Code, o.Name)), found.Select(o => (o.Code, o.Name)));
        Assert.Equal(owners.Select(o => string.Join('|', o.Serials)), found.Select(o => string.Join('|', o.Chips.Select(c => c.Serial))));
        await StoredCells.AssertSealedAsync(Database, context, "canary");
        Assert.All(await StoredCells.ScopesAsync(Database, "Owners", "Name", "TenantId"), cell => Assert.Equal($"tenant:{Guid.Parse(cell.Other):D}", cell.Scope));
        var rowKeys = await StoredCells.ScopesAsync(Database, "Chips", "Serial", "TenantId");
        Assert.Equal(rowKeys.Count, rowKeys.Select(cell => cell.Scope).Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(await StoredCells.CountAsync(Database, "Chips"), await RowKeysAsync());
    }

    /// <summary>The number of row keys in the ring: one for each row, none that a failed attempt left.</summary>
    protected async Task<long> RowKeysAsync() => Convert.ToInt64(await Database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL"));
}
