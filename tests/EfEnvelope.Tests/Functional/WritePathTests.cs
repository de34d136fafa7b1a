using EfEnvelope.JobProcess.Load;
using EfEnvelope.KeyManagement;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteWritePathTests() : WritePathTests("SQLite");

public sealed class PostgresWritePathTests() : WritePathTests("PostgreSQL")
{
    [Fact]
    public async Task One_connection_in_the_pool_suffices_with_a_cold_cache_and_an_open_reader()
    {
        await SaveAsync(TenantA, "one", TenantB, "two");
        var single = new Npgsql.NpgsqlConnectionStringBuilder(Database.ConnectionString) { MaxPoolSize = 1, Timeout = 5, ApplicationName = "single" }.ConnectionString;
        await using var context = new BankContext(Database.Options(e => e.UseTimeProvider(new Microsoft.Extensions.Time.Testing.FakeTimeProvider()), connectionString: single));
        await using var transaction = await context.Database.BeginTransactionAsync();
        var names = new List<string>();
        await foreach (var customer in context.Customers.AsNoTracking().OrderBy(c => c.Id).AsAsyncEnumerable())
        {
            names.Add(customer.FullName);
        }

        context.Add(NewCustomer(Guid.NewGuid(), "three"));
        await context.SaveChangesAsync();
        await transaction.CommitAsync();
        Assert.Equal(["one", "two"], names);
    }
}

public abstract class WritePathTests(string provider) : IAsyncLifetime
{
    protected static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    protected static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Fact]
    public async Task A_row_without_its_tenant_is_refused_and_nothing_is_written()
    {
        await using var context = New();
        context.Add(NewCustomer(Guid.Empty, "nobody"));
        var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
        Assert.Equal(("Customer", "TenantId"), (error.Entity, error.Property));
        Assert.Equal(0L, Convert.ToInt64(await Database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\"")));
    }

    [Fact]
    public async Task Many_tenants_in_parallel_on_pooled_contexts_each_get_their_own_key()
    {
        const int tenants = 60;
        await using var services = new ServiceCollection().AddDbContextPool<PooledBankContext>(o =>
        {
            Database.UseProvider(o);
            o.UseEnvelopeEncryption(e => e.UseKeyManagementService(Database.KeyService).UseTimeProvider(Database.Time));
        }).BuildServiceProvider();
        var ids = Enumerable.Range(0, tenants).Select(_ => Guid.NewGuid()).ToArray();
        await Parallel.ForEachAsync(ids, new ParallelOptions { MaxDegreeOfParallelism = provider == "SQLite" ? 2 : 8 }, async (tenant, token) =>
        {
            await using var scope = services.CreateAsyncScope();
            var context = scope.ServiceProvider.GetRequiredService<PooledBankContext>();
            context.Add(NewCustomer(tenant, "n" + tenant));
            await context.SaveChangesAsync(token);
        });

        await using var reader = New();
        foreach (var customer in await reader.Customers.AsNoTracking().ToListAsync())
        {
            Assert.Equal("n" + customer.TenantId, customer.FullName);
        }

        Assert.Equal(tenants, (await new EnvelopeKeys(reader).ListAsync()).Count(k => k.Scope.StartsWith("tenant:", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_stub_with_another_tenant_affects_no_row()
    {
        await SaveAsync(TenantA, "one", TenantB, "two");
        await using var context = New();
        var id = (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantA)).Id;
        var stub = NewCustomer(TenantB, "?");
        stub.Id = id;
        context.Entry(stub).State = EntityState.Unchanged;
        context.Entry(stub).Property(c => c.FullName).IsModified = true;
        await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
    }

    [Fact]
    public async Task A_disconnected_update_seals_every_cell_under_the_rows_own_key()
    {
        await SaveAsync(TenantA, "one", TenantB, "two");
        Customer detached;
        await using (var context = New())
        {
            detached = await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantB);
        }

        detached.Ssn = "changed";
        await using (var context = New())
        {
            context.Update(detached);
            await context.SaveChangesAsync();
        }

        await using var reader = New();
        var seen = await reader.Customers.SingleAsync(c => c.TenantId == TenantB);
        Assert.Equal(("two", "changed"), (seen.FullName, seen.Ssn));
    }

    [Fact]
    public async Task A_scope_key_made_inside_a_rolled_back_transaction_never_breaks_a_later_save()
    {
        await using (var context = New())
        {
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(NewCustomer(TenantA, "gone"));
            context.Add(new PaymentCard { TenantId = TenantA, Number = "gone" });
            await context.SaveChangesAsync();
            Assert.Equal("gone", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            Assert.Equal("gone", (await context.Cards.AsNoTracking().SingleAsync()).Number);
            await transaction.RollbackAsync();
        }

        await SaveAsync(TenantA, "one", TenantB, "two");
        await using (var context = New())
        {
            context.Add(new PaymentCard { TenantId = TenantA, Number = "kept" });
            await context.SaveChangesAsync();
        }

        // Another process: nothing of ours in its cache.
        await using var other = new BankContext(Database.Options(e => e.UseTimeProvider(new Microsoft.Extensions.Time.Testing.FakeTimeProvider())));
        Assert.Equal("one", (await other.Customers.SingleAsync(c => c.TenantId == TenantA)).FullName);
        Assert.Equal("kept", (await other.Cards.SingleAsync()).Number);
    }

    [Fact]
    public async Task Bulk_updates_take_the_key_of_the_tenant_that_their_filter_names()
    {
        await SaveAsync(TenantA, "one", TenantB, "two");
        var tenant = TenantA;
        await using var context = New();
        Assert.Equal(1, await context.Customers.Where(c => c.TenantId == tenant).ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, "bulk").SetProperty(c => c.Branch, "b")));
        Assert.Equal("bulk", (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantA)).FullName);
        Assert.Equal("two", (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantB)).FullName);
        var value = "global";
        context.Accounts.Add(new Account { CustomerId = 1, Iban = "x" });
        await context.SaveChangesAsync();
        await context.Accounts.ExecuteUpdateAsync(s => s.SetProperty(a => a.Iban, value));
        Assert.Equal("global", (await context.Accounts.AsNoTracking().SingleAsync()).Iban);
        await context.Accounts.ExecuteUpdateAsync(s => s.SetProperty(a => a.Iban, (string?)null));
        Assert.Null((await context.Accounts.AsNoTracking().SingleAsync()).Iban);
    }

    [Fact]
    public async Task Bulk_updates_that_do_not_say_whose_row_they_write_are_refused()
    {
        await using var context = New();
        var name = "x";
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Customers.ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, name)));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Customers.Where(c => c.TenantId == TenantA || c.Branch == "x").ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, name)));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Customers.Where(c => c.TenantId == TenantA).ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, c => c.Ssn)));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Customers.Where(c => c.TenantId == TenantA).ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, c => c.FullName + "x")));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Customers.ExecuteUpdateAsync(s => s.SetProperty(c => c.TenantId, TenantB)));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Cards.Where(c => c.TenantId == TenantA).ExecuteUpdateAsync(s => s.SetProperty(c => c.Holder, name)));
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Ledgers.ExecuteUpdateAsync(s => s.SetProperty(l => l.Balance, 1m)));
    }

    [Fact]
    public async Task Without_the_options_nothing_is_stored()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        Database.UseProvider(builder);
        await using var context = new BankContext(builder.Options);
        context.Add(NewCustomer(TenantA, "plain"));
        var error = await Record.ExceptionAsync(() => context.SaveChangesAsync());
        Assert.Contains(Causes(error!), e => e is EnvelopeConfigurationException);
        Assert.Equal(0L, Convert.ToInt64(await Database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\"")));
    }

    [Fact]
    public async Task A_thousand_scopes_of_equal_options_share_one_cache()
    {
        await SaveAsync(TenantA, "one", TenantB, "two");
        var service = new CountingService(Database.KeyService);
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        for (var n = 0; n < 1000; n++)
        {
            await using var context = new BankContext(Database.Options(e => e.UseKeyManagementService(service).UseTimeProvider(clock)));
            if (n % 100 == 0)
            {
                Assert.Equal(2, (await context.Customers.AsNoTracking().ToListAsync()).Count);
            }
        }

        // The ring's mac key, and one key for each of the two tenants.
        Assert.Equal(3, service.Unwraps);
    }

    protected BankContext New() => new(Database.Options());

    protected async Task SaveAsync(Guid first, string one, Guid second, string two)
    {
        await using var context = New();
        context.Add(NewCustomer(first, one));
        context.Add(NewCustomer(second, two));
        await context.SaveChangesAsync();
    }

    protected static Customer NewCustomer(Guid tenant, string name) => new() { TenantId = tenant, FullName = name, Ssn = "s" };

    private static IEnumerable<Exception> Causes(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            yield return error;
        }
    }

    public sealed class PooledBankContext(DbContextOptions<PooledBankContext> options) : BankContext(options);

    private sealed class CountingService(IKeyManagementService inner) : IKeyManagementService
    {
        private int _unwraps;

        public int Unwraps => _unwraps;

        public string Provider => inner.Provider;

        public Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => inner.GenerateKeyAsync(encryptionContext, cancellationToken);

        public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => inner.WrapAsync(key, encryptionContext, cancellationToken);

        public Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _unwraps);
            return inner.UnwrapAsync(wrapped, encryptionContext, cancellationToken);
        }

        public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken) => inner.RewrapAsync(wrapped, encryptionContext, cancellationToken);

        public Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken) => inner.DescribeRootKeyAsync(cancellationToken);
    }
}
