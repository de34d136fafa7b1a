using EfEnvelope.Tests.Querying;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteBulkUpdateFormTests() : BulkUpdateFormTests("SQLite");

public sealed class PostgresBulkUpdateFormTests() : BulkUpdateFormTests("PostgreSQL");

/// <summary>The forms in which <c>ExecuteUpdate</c> names a property and a value: each is sealed under the key of the tenant that the filter names.</summary>
public abstract class BulkUpdateFormTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Person { TenantId = Tenant, City = "Bern", Ssn = "canary", Home = new Home { City = "Bern", Street = "canary" } });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_property_by_name_and_members_of_owned_and_complex_types()
    {
        var street = "canary street";
        await using (var context = New())
        {
            Assert.Equal(1, await context.People.Where(p => p.TenantId == Tenant).ExecuteUpdateAsync(s => s
                .SetProperty(p => EF.Property<string>(p, "Ssn"), "canary named")
                .SetProperty(p => p.Reach.Phone, "canary phone")
                .SetProperty(p => p.Home!.Street, street)
                .SetProperty(p => p.Score, 7)
                .SetProperty(p => p.Grade, Grade.High)
                .SetProperty(p => p.Note, "canary note")));
        }

        await using var reader = New();
        var person = await reader.People.AsNoTracking().SingleAsync();
        Assert.Equal(("canary named", "canary phone", "canary street", 7, Grade.High, "canary note"), (person.Ssn, person.Reach.Phone, person.Home!.Street, person.Score, person.Grade, person.Note));
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_complex_type_as_a_whole(bool captured)
    {
        var reach = new Reach { Kind = "work", Phone = "canary work" };
        await using (var context = New())
        {
            var people = context.People.Where(p => p.TenantId == Tenant);
            Assert.Equal(1, captured
                ? await people.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, reach))
                : await people.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, new Reach { Kind = "work", Phone = "canary work" })));
        }

        await using var reader = New();
        var person = await reader.People.AsNoTracking().SingleAsync();
        Assert.Equal(("work", "canary work"), (person.Reach.Kind, person.Reach.Phone));
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    [Fact]
    public async Task A_complex_type_without_the_tenant_is_refused_and_nothing_is_written()
    {
        await using var context = New();
        var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Reach, new Reach { Kind = "work", Phone = "canary work" })));
        Assert.Equal("Phone", error.Property);
        Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        Assert.Null((await context.People.AsNoTracking().SingleAsync()).Reach.Phone);
    }

    /// <summary>The tenant stands in the root's table, which the statement joins by the row's key.</summary>
    [Fact]
    public async Task A_derived_type_in_a_table_of_its_own_under_its_roots_tenant()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        AdHocContext Fleet() => new(database.Options(more: AdHocContext.Cached), Ships);
        await using (var context = Fleet())
        {
            await context.Database.EnsureCreatedAsync();
            var mother = new Tanker { Tenant = 2, Cargo = "canary b" };
            context.AddRange(new Tanker { Tenant = 1, Cargo = "canary a", Mother = mother }, mother);
            await context.SaveChangesAsync();
        }

        await using (var context = Fleet())
        {
            Assert.Equal(1, await context.Set<Tanker>().Where(t => t.Tenant == 1 && t.Id != Guid.Empty).ExecuteUpdateAsync(s => s.SetProperty(t => t.Cargo, "canary bulk")));
            Assert.Equal(1, await context.Set<Ship>().Where(t => t.Tenant == 2).ExecuteUpdateAsync(s => s.SetProperty(t => t.Name, "canary name")));

            // The filter names a tenant, but of another row.
            var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Set<Tanker>().Where(t => t.Mother!.Tenant == 2).ExecuteUpdateAsync(s => s.SetProperty(t => t.Cargo, "canary evil")));
            Assert.Equal("Cargo", error.Property);
            await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Set<Ship>().Where(t => context.Set<Tanker>().Any(o => o.Tenant == 2 && o.Mother!.Id == t.Id)).ExecuteUpdateAsync(s => s.SetProperty(t => t.Name, "canary evil")));
            await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Set<Tanker>().Where(t => t.Tenant == 1 || t.Id != Guid.Empty).ExecuteUpdateAsync(s => s.SetProperty(t => t.Cargo, "canary evil")));
        }

        await using var reader = Fleet();
        Assert.Equal(["canary bulk", "canary b"], await reader.Set<Tanker>().AsNoTracking().OrderBy(t => t.Tenant).Select(t => t.Cargo).ToListAsync());
        Assert.Equal([null, "canary name"], (await reader.Set<Ship>().AsNoTracking().OrderBy(t => t.Tenant).ToListAsync()).Select(t => t.Name));
        await StoredCells.AssertSealedAsync(database, reader, "canary");
    }

    /// <summary>Ids of tables of a hierarchy with a table for each concrete type may be equal: their rows are others.</summary>
    [Fact]
    public async Task The_tenant_of_another_concrete_types_row_of_the_same_id_is_not_the_rows()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        AdHocContext Zoo() => new(database.Options(more: AdHocContext.Cached), Animals);
        await using (var context = Zoo())
        {
            await context.Database.EnsureCreatedAsync();
        }

        foreach (var animal in new Animal[] { new Cat { Id = 1, Tenant = 2, Secret = "canary cat" }, new Dog { Id = 1, Tenant = 1 } })
        {
            await using var context = Zoo();
            context.Add(animal);
            await context.SaveChangesAsync();
        }

        await using (var context = Zoo())
        {
            var pairs = context.Set<Cat>().Join(context.Set<Dog>(), c => c.Id, d => d.Id, (c, d) => new { c, d });
            var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => pairs.Where(x => x.d.Tenant == 1).ExecuteUpdateAsync(s => s.SetProperty(x => x.c.Secret, "canary evil")));
            Assert.Equal("Secret", error.Property);
            Assert.Equal(1, await pairs.Where(x => x.c.Tenant == 2).ExecuteUpdateAsync(s => s.SetProperty(x => x.c.Secret, "canary bulk")));
        }

        await using var reader = Zoo();
        Assert.Equal("canary bulk", (await reader.Set<Cat>().SingleAsync()).Secret);
    }

    /// <summary>The variable stands in SQL twice, under two names, since the columns are of two types.</summary>
    [Fact]
    public async Task A_tenant_that_is_compared_with_columns_of_two_types()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        AdHocContext Company() => new(database.Options(more: AdHocContext.Cached), Staff);
        await using (var context = Company())
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Clerk { Tenant = "a", Name = "canary a" }, new Clerk { Tenant = "b", Name = "canary b" }, new Badge { Tenant = "a" });
            await context.SaveChangesAsync();
        }

        await using (var context = Company())
        {
            var tenant = "a";
            Assert.Equal(1, await context.Set<Clerk>().Where(c => context.Set<Badge>().Any(b => b.Tenant == tenant) && c.Tenant == tenant).ExecuteUpdateAsync(s => s.SetProperty(c => c.Name, "canary bulk")));
        }

        await using var reader = Company();
        Assert.Equal(["canary bulk", "canary b"], await reader.Set<Clerk>().AsNoTracking().OrderBy(c => c.Tenant).Select(c => c.Name).ToListAsync());
        await StoredCells.AssertSealedAsync(database, reader, "canary");
    }

    private static void Staff(ModelBuilder m)
    {
        m.Entity<Clerk>(clerk => clerk.HasDataKeyPerTenant(c => c.Tenant).Property(c => c.Tenant).HasColumnType("varchar(36)"));
        m.Entity<Badge>();
        m.UseEnvelopeEncryption();
    }

    private static void Ships(ModelBuilder m)
    {
        m.Entity<Ship>().UseTptMappingStrategy().HasDataKeyPerTenant(s => s.Tenant);
        m.Entity<Tanker>();
        m.UseEnvelopeEncryption();
    }

    private static void Animals(ModelBuilder m)
    {
        m.Entity<Animal>(animal =>
        {
            animal.UseTpcMappingStrategy().HasDataKeyPerTenant(a => a.Tenant);
            animal.Property(a => a.Id).ValueGeneratedNever();
        });
        m.Entity<Cat>();
        m.Entity<Dog>();
        m.UseEnvelopeEncryption();
    }

    private VaultContext New() => new(_database.Options());

    private abstract class Animal
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    private sealed class Cat : Animal;

    private sealed class Dog : Animal;

    private sealed class Clerk
    {
        public int Id { get; set; }

        public required string Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Badge
    {
        public int Id { get; set; }

        public required string Tenant { get; set; }
    }

    private abstract class Ship
    {
        public Guid Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Tanker : Ship
    {
        [Encrypted]
        public string? Cargo { get; set; }

        public Tanker? Mother { get; set; }
    }
}
