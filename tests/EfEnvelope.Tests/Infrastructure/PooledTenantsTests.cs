using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Tests.Infrastructure;

public sealed class SqlitePooledTenantsTests() : PooledTenantsTests("SQLite")
{
    [Fact]
    public Task A_hundred_tenants_in_parallel_each_have_their_own_key() => AssertOwnKeysAsync(100, parallel: 4);
}

public sealed class PostgresPooledTenantsTests() : PooledTenantsTests("PostgreSQL")
{
    [Fact]
    public Task A_thousand_tenants_in_parallel_each_have_their_own_key() => AssertOwnKeysAsync(1000, parallel: 48);
}

/// <summary>Tenants on pooled contexts: each row's key belongs to its row's tenant (G27), whether the row or the context names the tenant.</summary>
public abstract class PooledTenantsTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    protected async Task AssertOwnKeysAsync(int tenants, int parallel)
    {
        await using var services = await ServicesAsync(32);
        var ids = Enumerable.Range(0, tenants).Select(_ => Guid.NewGuid()).ToArray();
        await Parallel.ForEachAsync(ids, new ParallelOptions { MaxDegreeOfParallelism = parallel }, async (tenant, token) =>
        {
            await InScopeAsync(services, tenant, async context =>
            {
                context.Add(new Invoice { TenantId = tenant, Text = "canary " + tenant });
                context.Add(new Memo { Text = "canary ambient " + tenant, Owner = tenant });
                await context.SaveChangesAsync(token);
            });

            // On another instance of the pool, between the others.
            await InScopeAsync(services, tenant, async context =>
            {
                Assert.Equal("canary " + tenant, (await context.Invoices.SingleAsync(i => i.TenantId == tenant, token)).Text);
                Assert.Equal("canary ambient " + tenant, (await context.Memos.SingleAsync(m => m.Owner == tenant, token)).Text);
            });
        });

        foreach (var (table, owner) in new[] { ("Invoices", "TenantId"), ("Memos", "Owner") })
        {
            var cells = await StoredCells.ScopesAsync(_database, table, "Text", owner);
            Assert.Equal(tenants, cells.Count);
            Assert.All(cells, cell => Assert.Equal($"tenant:{Guid.Parse(cell.Other):D}", cell.Scope));
        }

        await InScopeAsync(services, ids[0], async context =>
        {
            await StoredCells.AssertSealedAsync(_database, context, "canary");
            Assert.Equal(tenants, (await new EnvelopeKeys(context).ListAsync()).Count(k => k.Scope.StartsWith("tenant:", StringComparison.Ordinal)));
        });
    }

    [Fact]
    public async Task A_pooled_instance_asks_for_the_tenant_of_each_lease()
    {
        await using var services = await ServicesAsync(1);
        var (one, two) = (Guid.NewGuid(), Guid.NewGuid());
        PooledContext? first = null;
        await InScopeAsync(services, one, async context =>
        {
            first = context;
            context.Add(new Memo { Text = "of one", Owner = one });
            await context.SaveChangesAsync();
        });
        await InScopeAsync(services, two, async context =>
        {
            Assert.Same(first, context);
            context.Add(new Memo { Text = "of two", Owner = two });
            await context.SaveChangesAsync();
            Assert.Equal("of two", (await context.Memos.SingleAsync(m => m.Owner == two)).Text);
            var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Memos.AsNoTracking().SingleAsync(m => m.Owner == one));
            Assert.EndsWith("Memo", error.Entity, StringComparison.Ordinal);
            await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Memos.Where(m => m.Owner == one).Select(m => m.Text).SingleAsync());
        });
        Assert.Equal(
            [($"tenant:{one:D}", one), ($"tenant:{two:D}", two)],
            (await StoredCells.ScopesAsync(_database, "Memos", "Text", "Owner")).Select(c => (c.Scope, Guid.Parse(c.Other))).OrderBy(c => c.Item2 == two));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Without_a_tenant_nothing_is_written_and_the_error_says_where_it_comes_from(bool empty)
    {
        await using var services = await ServicesAsync(4);
        await InScopeAsync(services, empty ? Guid.Empty : null, async context =>
        {
            context.Add(new Memo { Text = "canary", Owner = Guid.NewGuid() });
            var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
            Assert.EndsWith("Memo", error.Entity, StringComparison.Ordinal);
            Assert.Contains("UseTenant(context => ...)", error.Message, StringComparison.Ordinal);
        });
        Assert.Equal((0, 0), (await StoredCells.CountAsync(_database, "Memos"), await StoredCells.CountAsync(_database, "EnvelopeKeys")));
    }

    /// <summary>Whose a value is cannot be told: no tenant is no permission to read every tenant's.</summary>
    [Fact]
    public async Task Without_a_tenant_nothing_of_the_contexts_tenants_is_read()
    {
        await using var services = await ServicesAsync(4);
        var owner = Guid.NewGuid();
        await InScopeAsync(services, owner, async context =>
        {
            context.Add(new Memo { Text = "canary", Owner = owner });
            context.Add(new Invoice { Text = "of the row", TenantId = owner });
            await context.SaveChangesAsync();
        });
        await InScopeAsync(services, null, async context =>
        {
            var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.Memos.AsNoTracking().ToListAsync());
            Assert.Contains("UseTenant(context => ...)", error.Message, StringComparison.Ordinal);
            await Assert.ThrowsAsync<MissingScopeException>(() => context.Memos.Select(m => m.Text).ToListAsync());
            Assert.Equal(1, await context.Memos.CountAsync(m => m.Owner == owner));
            Assert.Equal("of the row", (await context.Invoices.SingleAsync()).Text);
        });
    }

    /// <summary>It would write the context's tenant's key into the rows of every tenant that the filter finds.</summary>
    [Fact]
    public async Task A_bulk_update_of_rows_of_the_contexts_tenant_is_refused_and_nothing_changes()
    {
        await using var services = await ServicesAsync(4);
        var (one, two) = (Guid.NewGuid(), Guid.NewGuid());
        foreach (var tenant in new[] { one, two })
        {
            await InScopeAsync(services, tenant, async context =>
            {
                context.Add(new Memo { Text = "kept", Owner = tenant });
                await context.SaveChangesAsync();
            });
        }

        await InScopeAsync(services, one, async context =>
        {
            var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Memos.ExecuteUpdateAsync(s => s.SetProperty(m => m.Text, "evil")));
            Assert.Equal("Text", error.Property);
            Assert.Contains("SaveChanges", error.Message, StringComparison.Ordinal);
            Assert.Contains("HasDataKeyPerTenant", error.Message, StringComparison.Ordinal);
            Assert.Equal(2, await context.Memos.ExecuteUpdateAsync(s => s.SetProperty(m => m.Owner, m => m.Owner)));
        });
        await InScopeAsync(services, two, async context => Assert.Equal("kept", (await context.Memos.SingleAsync(m => m.Owner == two)).Text));
    }

    [Fact]
    public async Task The_tenant_of_another_context_type_is_refused_by_name()
    {
        await using var context = new PooledContext(_database.Options(e => e.UseTenant<BankContext>(c => c.Customers)));
        await context.Database.EnsureCreatedAsync();
        context.Add(new Memo { Text = "canary", Owner = Guid.NewGuid() });
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.SaveChangesAsync());
        Assert.Contains("BankContext", error.Message, StringComparison.Ordinal);
        Assert.Contains("PooledContext", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, await StoredCells.CountAsync(_database, "Memos"));
    }

    private async Task<ServiceProvider> ServicesAsync(int poolSize)
    {
        var services = new ServiceCollection().AddPooledDbContextFactory<PooledContext>(
            o =>
            {
                _database.UseProvider(o);
                o.UseEnvelopeEncryption(e => e.UseKeyManagementService(_database.KeyService).UseTimeProvider(_database.Time).UseTenant<PooledContext>(c => c.Tenant));
            },
            poolSize).BuildServiceProvider();
        await InScopeAsync(services, null, context => context.Database.EnsureCreatedAsync());
        return services;
    }

    /// <summary>One lease, as an application's scoped factory makes them.</summary>
    private static async Task InScopeAsync(ServiceProvider services, Guid? tenant, Func<PooledContext, Task> work)
    {
        await using var context = await services.GetRequiredService<IDbContextFactory<PooledContext>>().CreateDbContextAsync();
        context.Tenant = tenant;
        await work(context);
    }

    /// <summary>The row names its tenant.</summary>
    public sealed class Invoice
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public required string Text { get; set; }
    }

    /// <summary>The context names the tenant; the owner stands here for the tests only.</summary>
    public sealed class Memo
    {
        public int Id { get; set; }

        public Guid Owner { get; set; }

        [Encrypted]
        public required string Text { get; set; }
    }

    public sealed class PooledContext(DbContextOptions options) : DbContext(options)
    {
        public Guid? Tenant { get; set; }

        public DbSet<Invoice> Invoices => Set<Invoice>();

        public DbSet<Memo> Memos => Set<Memo>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Invoice>().HasDataKeyPerTenant(i => i.TenantId);
            modelBuilder.UseEnvelopeEncryption();
        }
    }
}
