using EfEnvelope.Envelopes;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteRoundTripTests() : RoundTripTests("SQLite");

public sealed class PostgresRoundTripTests() : RoundTripTests("PostgreSQL");

/// <summary>One value from SaveChanges to the column and back, in every mapping.</summary>
public abstract class RoundTripTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Every_mapping_comes_back_as_it_was_saved()
    {
        await SaveAsync(Sample(TenantA, 1), Sample(TenantB, 2));
        await using var context = New();
        var customers = await context.Customers.Include(c => c.Accounts).OrderBy(c => c.Id).ToListAsync();
        Assert.Equal(2, customers.Count);
        AssertSample(customers[0], TenantA, 1);
        AssertSample(customers[1], TenantB, 2);
    }

    [Fact]
    public void Synchronous_calls_do_the_same()
    {
        using (var context = New())
        {
            context.Customers.Add(Sample(TenantA, 3));
            context.SaveChanges();
        }

        using var other = New();
        AssertSample(other.Customers.Include(c => c.Accounts).Single(), TenantA, 3);
    }

    [Fact]
    public async Task The_columns_hold_envelopes_and_the_database_no_plaintext()
    {
        await SaveAsync(Sample(TenantA, 4));
        foreach (var column in new[] { "FullName", "Ssn", "CreditLimit", "BirthDate", "Risk", "Photo", "Site", "Tags", "Home_Street", "Contact_Phone" })
        {
            var cell = Assert.IsType<byte[]>(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"Customers\""));
            Assert.True(EnvelopeCodec.TryReadKeyId(cell, out _), column);
        }

        Assert.StartsWith("efe1:", Assert.IsType<string>(await _database.ScalarAsync("SELECT \"Note\" FROM \"Customers\"")), StringComparison.Ordinal);
        var json = (string)(await _database.ScalarAsync("SELECT CAST(\"Profile\" AS TEXT) FROM \"Customers\""))!;
        Assert.Contains("efe1:", json, StringComparison.Ordinal);
        Assert.Contains("dark", json, StringComparison.Ordinal);
        Assert.DoesNotContain("hush", json, StringComparison.Ordinal);
        Assert.True(EnvelopeCodec.TryReadKeyId((byte[])(await _database.ScalarAsync("SELECT \"Serial\" FROM \"Device\""))!, out _));
    }

    [Fact]
    public async Task Projections_and_updates_work_on_single_values()
    {
        await SaveAsync(Sample(TenantA, 5));
        await using (var context = New())
        {
            var customer = await context.Customers.SingleAsync();
            customer.FullName = "changed";
            customer.Home.Street = "elsewhere";
            customer.Contact.Phone = null;
            customer.Profile!.Secret = "new secret";
            customer.Tags!.Add("three");
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var other = New();
        var seen = await other.Customers.Select(c => new { c.FullName, c.Home.Street, c.Contact.Phone, c.Profile!.Secret, c.Ssn, c.Tags }).SingleAsync();
        Assert.Equal("changed", seen.FullName);
        Assert.Equal("elsewhere", seen.Street);
        Assert.Null(seen.Phone);
        Assert.Equal("new secret", seen.Secret);
        Assert.Equal("123-45-0005", seen.Ssn);
        Assert.Equal(["one", "two", "three"], seen.Tags);
    }

    [Fact]
    public async Task Rows_with_keys_of_their_own_count_as_one_and_read_back_in_bulk()
    {
        await using (var context = New())
        {
            context.Cards.AddRange(Enumerable.Range(0, 40).Select(i => new PaymentCard { TenantId = i % 2 == 0 ? TenantA : TenantB, Number = $"4111-{i}", Holder = $"H{i}", Label = $"L{i}" }));
            Assert.Equal(40, await context.SaveChangesAsync());
        }

        await using (var context = New())
        {
            var cards = await context.Cards.OrderBy(c => c.Id).ToListAsync();
            Assert.Equal(Enumerable.Range(0, 40).Select(i => $"4111-{i}"), cards.Select(c => c.Number));
            cards[3].Holder = "other";
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using (var context = New())
        {
            var stub = new PaymentCard { Id = 1, TenantId = TenantA, Number = "?" };
            context.Attach(stub);
            stub.Holder = "stub";
            context.Entry(stub).Property(c => c.Number).IsModified = false;
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var last = New();
        Assert.Equal("other", await last.Cards.Where(c => c.Label == "L3").Select(c => c.Holder).SingleAsync());
        var first = await last.Cards.SingleAsync(c => c.Label == "L0");
        Assert.Equal(("4111-0", "stub"), (first.Number, first.Holder));
        Assert.Equal(40L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL")));
    }

    [Fact]
    public async Task Row_bound_columns_open_with_their_key_only()
    {
        await using (var context = New())
        {
            context.Ledgers.AddRange(new Ledger { Code = "a|b", Year = 2026, Balance = 1.50m }, new Ledger { Code = "c", Year = 2026, Balance = 2m });
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            Assert.Equal(1.50m, (await context.Ledgers.SingleAsync(l => l.Code == "a|b")).Balance);
            await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Ledgers.Select(l => l.Balance).ToListAsync());
            Assert.Equal(2, (await context.Ledgers.Select(l => new { l.Code, l.Year, l.Balance }).ToListAsync()).Count);
        }

        await _database.ExecuteAsync("UPDATE \"Ledgers\" SET \"Balance\" = (SELECT \"Balance\" FROM \"Ledgers\" WHERE \"Code\" = 'c') WHERE \"Code\" = 'a|b'");
        await using var last = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => last.Ledgers.ToListAsync());
    }

    [Fact]
    public async Task A_self_join_over_two_tenants_is_not_taken_for_a_moved_cell()
    {
        await SaveAsync(Sample(TenantA, 7), Sample(TenantB, 8));
        await using var context = New();
        var pairs = await (from a in context.Customers from b in context.Customers where a.TenantId != b.TenantId select new { a.FullName, b.TenantId }).ToListAsync();
        Assert.Equal([("Name 7", TenantB), ("Name 8", TenantA)], pairs.Select(p => (p.FullName, p.TenantId)).OrderBy(p => p.FullName, StringComparer.Ordinal));
    }

    [Fact]
    public async Task Inheritance_and_all_query_forms_work()
    {
        await SaveAsync(Sample(TenantA, 6));
        await using var context = New();
        Assert.Equal(0.25, (await context.Set<SavingsAccount>().SingleAsync()).Rate);
        Assert.Equal(2, (await context.Customers.Include(c => c.Accounts).AsSplitQuery().SingleAsync()).Accounts.Count);
        Assert.Equal("DE-6", (await context.Accounts.AsNoTracking().Include(a => a.Customer).OrderBy(a => a.Id).FirstAsync()).Iban);
        Assert.Single(await context.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").AsNoTracking().ToListAsync());
        Assert.Single(await context.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").Where(c => c.Branch == "main").AsNoTracking().ToListAsync());
        var count = 0;
        await foreach (var customer in context.Customers.AsNoTracking().AsAsyncEnumerable())
        {
            Assert.Equal("Name 6", customer.FullName);
            count++;
        }

        Assert.Equal(1, count);
        Assert.NotNull(await context.Customers.FindAsync(context.Customers.Local.First().Id));
        Assert.Equal(0, await context.Customers.CountAsync(c => c.Note == null));
    }

    private BankContext New() => new(_database.Options());

    private async Task SaveAsync(params Customer[] customers)
    {
        await using var context = New();
        foreach (var customer in customers)
        {
            context.Add(customer);
        }

        await context.SaveChangesAsync();
    }

    private static Customer Sample(Guid tenant, int n) => new()
    {
        TenantId = tenant,
        FullName = $"Name {n}",
        Ssn = $"123-45-{n:0000}",
        CreditLimit = 100.10m * n,
        BirthDate = new DateOnly(1990, 1, n),
        Risk = Risk.High,
        Photo = [1, 2, (byte)n],
        Note = $"note {n}",
        Site = new Uri($"https://example.org/{n}"),
        Tags = ["one", "two"],
        Home = new Address { City = "Bern", Street = $"Street {n}" },
        Contact = new Contact { Kind = "mobile", Phone = $"+41 {n}" },
        Profile = new Profile { Theme = "dark", Secret = $"hush {n}" },
        Devices = [new Device { Serial = $"S{n}" }],
        Accounts = [new Account { Iban = $"DE-{n}", Pin = 1000 + n }, new SavingsAccount { Iban = $"CH-{n}", Rate = 0.25 }],
    };

    private static void AssertSample(Customer customer, Guid tenant, int n)
    {
        Assert.Equal(tenant, customer.TenantId);
        Assert.Equal($"Name {n}", customer.FullName);
        Assert.Equal($"123-45-{n:0000}", customer.Ssn);
        Assert.Equal(100.10m * n, customer.CreditLimit);
        Assert.Equal(new DateOnly(1990, 1, n), customer.BirthDate);
        Assert.Equal(Risk.High, customer.Risk);
        Assert.Equal([1, 2, (byte)n], customer.Photo!);
        Assert.Equal($"note {n}", customer.Note);
        Assert.Equal(new Uri($"https://example.org/{n}"), customer.Site);
        Assert.Equal(["one", "two"], customer.Tags!);
        Assert.Equal($"Street {n}", customer.Home.Street);
        Assert.Equal($"+41 {n}", customer.Contact.Phone);
        Assert.Equal($"hush {n}", customer.Profile!.Secret);
        Assert.Equal($"S{n}", Assert.Single(customer.Devices).Serial);
        Assert.Equal([$"CH-{n}", $"DE-{n}"], customer.Accounts.Select(a => a.Iban!).Order(StringComparer.Ordinal));
        Assert.Equal(1000 + n, customer.Accounts.Single(a => a is not SavingsAccount).Pin);
    }
}
