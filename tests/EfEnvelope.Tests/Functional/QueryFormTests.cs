using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteQueryFormTests() : QueryFormTests("SQLite");

public sealed class PostgresQueryFormTests() : QueryFormTests("PostgreSQL");

/// <summary>Every way to read (G29), by a process that has no key yet: under tenants' keys, and with a key for each row.</summary>
public abstract class QueryFormTests(string provider) : OwnerTests(provider)
{
    [Fact]
    public async Task Compiled_queries_with_parameters()
    {
        await SaveBothAsync();
        var owners = EF.CompileQuery((OwnerContext c, Guid tenant) => c.Owners.Where(o => o.TenantId == tenant));
        var ownersAsync = EF.CompileAsyncQuery((OwnerContext c, Guid tenant) => c.Owners.AsNoTracking().Where(o => o.TenantId == tenant));
        var nameAsync = EF.CompileAsyncQuery((OwnerContext c, string code, Guid tenant) => c.Owners.Where(o => o.Code == code && o.TenantId == tenant).Select(o => o.Name).Single());
        var name = EF.CompileQuery((OwnerContext c, string code) => c.Owners.Where(o => o.Code == code).Select(o => o.Name).Single());
        for (var round = 0; round < 2; round++)
        {
            await ColdAsync();
            await using var context = New();
            Assert.Equal(["canary a"], owners(context, TenantA).Select(o => o.Name));
            Assert.Equal("canary b", await nameAsync(context, "b", TenantB));
            Assert.Equal("canary a", name(context, "a"));
            Assert.Equal(["canary b"], await ListAsync(ownersAsync(context, TenantB)));
        }

        static async Task<List<string>> ListAsync(IAsyncEnumerable<Owner> owners)
        {
            var names = new List<string>();
            await foreach (var owner in owners)
            {
                names.Add(owner.Name);
            }

            return names;
        }
    }

    [Fact]
    public async Task Compiled_queries_over_rows_with_keys_of_their_own()
    {
        await SaveBothAsync();
        var chips = EF.CompileQuery((OwnerContext c, Guid tenant) => c.Chips.Where(x => x.TenantId == tenant));
        var serials = EF.CompileAsyncQuery((OwnerContext c, int least) => c.Chips.OrderBy(x => x.Label).Where(x => x.Id >= least).Select(x => x.Serial));
        var owner = EF.CompileAsyncQuery((OwnerContext c, string code) => c.Owners.Include(o => o.Chips).Single(o => o.Code == code));
        for (var round = 0; round < 2; round++)
        {
            await ColdAsync();
            await using var context = New();
            Assert.Equal(["canary a/0", "canary a/1"], chips(context, TenantA).Select(c => c.Serial).Order(StringComparer.Ordinal));
            await ColdAsync();
            var found = new List<string>();
            await foreach (var serial in serials(context, 0))
            {
                found.Add(serial);
            }

            Assert.Equal(["canary a/0", "canary a/1", "canary b/0", "canary b/1"], found);
            await ColdAsync();
            Assert.Equal([0, 1], (await owner(context, "b")).Chips.Select(c => c.Pin).Order());
        }
    }

    [Fact]
    public async Task A_compiled_query_opens_each_database_by_its_own_ring()
    {
        await SaveBothAsync();
        await using var other = await TestDatabase.CreateAsync(Provider);
        await using (var context = new OwnerContext(other.Options()))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(NewOwner(TenantA, "other"));
            await context.SaveChangesAsync();
        }

        var names = EF.CompileAsyncQuery((OwnerContext c, Guid tenant) => c.Owners.Where(o => o.TenantId == tenant).Select(o => o.Name).Single());
        var serial = EF.CompileAsyncQuery((OwnerContext c, Guid tenant) => c.Chips.Where(x => x.TenantId == tenant).OrderBy(x => x.Label).Select(x => x.Serial).First());
        await using var one = New();
        await using var two = new OwnerContext(other.Options());
        Assert.Equal(("canary a", "canary other"), (await names(one, TenantA), await names(two, TenantA)));
        Assert.Equal(("canary a/0", "canary other/0"), (await serial(one, TenantA), await serial(two, TenantA)));
        Assert.Equal(("canary a", "canary other"), (await names(one, TenantA), await names(two, TenantA)));
    }

    [Fact]
    public async Task A_compiled_query_that_computes_on_ciphertext_is_refused_at_each_call()
    {
        await SaveBothAsync();
        var byName = EF.CompileAsyncQuery((OwnerContext c, string name) => c.Owners.Where(o => o.Name == name).Select(o => o.Id).FirstOrDefault());
        var byPin = EF.CompileQuery((OwnerContext c, int pin) => c.Chips.Count(x => x.Pin > pin));
        await using var context = New();
        for (var round = 0; round < 2; round++)
        {
            Assert.Equal("Name", (await Assert.ThrowsAsync<EnvelopeQueryException>(() => byName(context, "canary a"))).Property);
            Assert.Equal("Pin", Assert.Throws<EnvelopeQueryException>(() => byPin(context, 0)).Property);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Children_with_keys_of_their_own_are_included(bool split)
    {
        await SaveBothAsync();
        await ColdAsync();
        await using (var context = New())
        {
            var query = context.Owners.Include(o => o.Chips).OrderBy(o => o.Code);
            var owners = await (split ? query.AsSplitQuery() : query.AsSingleQuery()).ToListAsync();
            Assert.Equal(["canary a/0", "canary a/1", "canary b/0", "canary b/1"], owners.SelectMany(o => o.Chips).Select(c => c.Serial).Order(StringComparer.Ordinal));
        }

        await ColdAsync();
        await using (var context = New())
        {
            var query = context.Owners.Include("Chips").Where(o => o.Code == "b");
            var owner = (split ? query.AsSplitQuery() : query.AsSingleQuery()).AsNoTracking().ToList().Single();
            Assert.Equal(("canary b", 2), (owner.Name, owner.Chips.Count));
            Assert.Equal([0, 1], owner.Chips.Select(c => c.Pin).Order());
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task No_tracking_with_identity_resolution(bool split)
    {
        await SaveBothAsync();
        await using (var context = New())
        {
            var id = await context.Owners.Where(o => o.Code == "a").Select(o => o.Id).SingleAsync();
            context.AddRange(new Deed { OwnerId = id, Text = "canary one" }, new Deed { OwnerId = id, Text = "canary two" });
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using var reader = New();
        var query = reader.Deeds.Include(d => d.Owner!.Chips).OrderBy(d => d.Id);
        var deeds = await (split ? query.AsSplitQuery() : query.AsSingleQuery()).AsNoTrackingWithIdentityResolution().ToListAsync();
        Assert.Equal(["canary one", "canary two"], deeds.Select(d => d.Text));
        Assert.Same(deeds[0].Owner, deeds[1].Owner);
        Assert.Equal("canary a", deeds[0].Owner!.Name);
        Assert.Equal(["canary a/0", "canary a/1"], deeds[0].Owner!.Chips.Select(c => c.Serial).Order(StringComparer.Ordinal));
        Assert.Empty(reader.ChangeTracker.Entries());
    }

    [Fact]
    public async Task Find_explicit_loading_reload_and_database_values()
    {
        await SaveBothAsync();
        await ColdAsync();
        await using var context = New();
        var id = await context.Owners.Where(o => o.Code == "a").Select(o => o.Id).SingleAsync();
        var owner = (await context.Owners.FindAsync(id))!;
        Assert.Equal("canary a", owner.Name);
        await context.Entry(owner).Collection(o => o.Chips).LoadAsync();
        var chip = owner.Chips.Single(c => c.Pin == 1);
        Assert.Equal("canary a/1", chip.Serial);
        Assert.Same(chip, context.Chips.Find(chip.Id));

        await using (var other = New())
        {
            (await other.Chips.FindAsync(chip.Id))!.Serial = "canary other";
            other.Owners.Find(id)!.Name = "canary renamed";
            Assert.Equal(2, await other.SaveChangesAsync());
        }

        Assert.Equal("canary other", (await context.Entry(chip).GetDatabaseValuesAsync())!["Serial"]);
        Assert.Equal("canary renamed", context.Entry(owner).GetDatabaseValues()!.GetValue<string>("Name"));
        await context.Entry(chip).ReloadAsync();
        context.Entry(owner).Reload();
        Assert.Equal(("canary other", "canary renamed", EntityState.Unchanged), (chip.Serial, owner.Name, context.Entry(chip).State));
        chip.Serial = "canary mine";
        Assert.Equal(1, await context.SaveChangesAsync());
        await AssertStoredAsync(("a", "canary renamed", ["canary a/0", "canary mine"]), ("b", "canary b", ["canary b/0", "canary b/1"]));
    }

    [Fact]
    public async Task FromSql_with_parameters_composed_and_not()
    {
        await SaveBothAsync();
        await ColdAsync();
        var label = "b/1";
        await using (var context = New())
        {
            var chip = await context.Chips.FromSql($"SELECT * FROM \"Chips\" WHERE \"Label\" = {label}").AsNoTracking().SingleAsync();
            Assert.Equal(("canary b/1", 1), (chip.Serial, chip.Pin));
        }

        await ColdAsync();
        await using (var context = New())
        {
            Assert.Equal(["canary b/1"], (await context.Chips.FromSql($"SELECT * FROM \"Chips\" WHERE \"Label\" = {label}").ToListAsync()).Select(c => c.Serial));
            var owners = context.Owners.FromSqlRaw("SELECT * FROM \"Owners\" WHERE \"Code\" = {0}", "a").Include(o => o.Chips).ToList();
            Assert.Equal(("canary a", "canary a/0"), (owners.Single().Name, owners.Single().Chips.OrderBy(c => c.Label).First().Serial));
            Assert.Equal("canary b", await context.Owners.FromSqlRaw("SELECT * FROM \"Owners\"").Where(o => o.TenantId == TenantB).Select(o => o.Name).SingleAsync());
        }
    }

    [Fact]
    public async Task Streaming_and_leaving_early()
    {
        await SaveBothAsync();
        await ColdAsync();
        await using var context = New();
        var seen = new List<string>();
        await foreach (var owner in context.Owners.AsNoTracking().OrderBy(o => o.Code).AsAsyncEnumerable())
        {
            seen.Add(owner.Name);
        }

        await foreach (var chip in context.Chips.OrderBy(c => c.Label).AsAsyncEnumerable())
        {
            seen.Add(chip.Serial);
            if (seen.Count == 4)
            {
                break;
            }
        }

        foreach (var owner in context.Owners.AsNoTracking().OrderByDescending(o => o.Code))
        {
            seen.Add(owner.Name);
            break;
        }

        Assert.Equal(["canary a", "canary b", "canary a/0", "canary a/1", "canary b"], seen);
        Assert.Equal(4, await context.Chips.CountAsync());
    }

    private async Task SaveBothAsync()
    {
        await SaveAsync(TenantA, "a");
        await SaveAsync(TenantB, "b");
    }
}
