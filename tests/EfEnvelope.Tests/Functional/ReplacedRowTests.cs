using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteReplacedRowTests() : ReplacedRowTests("SQLite");

public sealed class PostgresReplacedRowTests() : ReplacedRowTests("PostgreSQL");

/// <summary>Rows that are removed and added again in one save, which EF makes one UPDATE of.</summary>
public abstract class ReplacedRowTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false, "canary")]
    [InlineData(false, null)]
    [InlineData(true, "canary")]
    [InlineData(true, null)]
    public async Task By_a_sibling_that_has_no_encrypted_cells_and_back(bool rowKeys, string? secret)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await SaveAsync(model, new Cat { Id = 1, Tenant = 1, Secret = secret, Papers = new Papers { Number = secret } });
        var rowId = rowKeys ? await RowIdAsync() : null;
        foreach (var loaded in new[] { true, false })
        {
            await using (var context = New(model))
            {
                Pet old = loaded ? await context.Set<Cat>().SingleAsync() : new Cat { Id = 1, Tenant = 1 };
                context.Remove(old);
                context.Add(new Dog { Id = 1, Tenant = 1, Kind = "dog" });
                await context.SaveChangesAsync();
            }

            Assert.Equal(rowId, rowKeys ? await RowIdAsync() : null);
            await using (var context = New(model))
            {
                Assert.Equal("dog", (await context.Set<Dog>().AsNoTracking().SingleAsync()).Kind);
                context.Remove(loaded ? await context.Set<Dog>().SingleAsync() : new Dog { Id = 1, Tenant = 1 });
                context.Add(new Cat { Id = 1, Tenant = 1, Secret = "canary back", Papers = new Papers { Number = "canary paper" } });
                await context.SaveChangesAsync();
            }

            Assert.Equal(rowId, rowKeys ? await RowIdAsync() : null);
            await using var reader = New(model);
            var cat = await reader.Set<Cat>().AsNoTracking().SingleAsync();
            Assert.Equal(("canary back", "canary paper"), (cat.Secret, cat.Papers?.Number));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_removed_stub_that_does_not_say_its_tenant_is_refused(bool rowKeys)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await SaveAsync(model, new Cat { Id = 1, Tenant = 1, Secret = "canary one" });
        await using (var context = New(model))
        {
            context.Remove(new Cat { Id = 1 });
            context.Add(new Cat { Id = 1, Tenant = 1, Secret = "canary two" });
            var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
            Assert.Equal(("Pet", "Tenant"), (error.Entity, error.Property));
        }

        await using var reader = New(model);
        Assert.Equal("canary one", (await reader.Set<Cat>().AsNoTracking().SingleAsync()).Secret);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_owned_part_that_goes_while_its_owner_changes_in_a_plain_column(bool rowKeys)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await SaveAsync(model, new Cat { Id = 1, Tenant = 1, Kind = "a", Secret = "canary one", Papers = new Papers { Number = "canary" } });
        await using (var context = New(model))
        {
            var cat = await context.Set<Cat>().SingleAsync();
            (cat.Papers, cat.Kind) = (null, "b");
            await context.SaveChangesAsync();
        }

        await using var reader = New(model);
        var read = await reader.Set<Cat>().AsNoTracking().SingleAsync();
        Assert.Equal(("b", "canary one", null), (read.Kind, read.Secret, read.Papers?.Number));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task In_tables_that_do_not_say_whose_they_are(int tenant)
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Pet>(p =>
            {
                p.UseTptMappingStrategy();
                p.HasDataKeyPerTenant(x => x.Tenant);
                p.Property(x => x.Id).ValueGeneratedNever();
            });
            m.Entity<Cat>().OwnsOne(x => x.Papers);
            m.Entity<Dog>();
            m.UseEnvelopeEncryption();
        }

        await SaveAsync(Model, new Cat { Id = 1, Tenant = 1, Secret = "canary one", Papers = new Papers { Number = "canary paper" } });
        await using (var context = New(Model))
        {
            context.Remove(await context.Set<Cat>().SingleAsync());
            context.Add(new Cat { Id = 1, Tenant = tenant, Secret = "canary two", Papers = new Papers { Number = "canary other" } });
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        var cat = await reader.Set<Cat>().AsNoTracking().SingleAsync();
        Assert.Equal((tenant, "canary two", "canary other"), (cat.Tenant, cat.Secret, cat.Papers!.Number));
        await using (var context = New(Model))
        {
            // Nothing of the root's table changes, which alone says whose the row is.
            context.Remove(new Cat { Id = 1, Tenant = 7 });
            context.Add(new Cat { Id = 1, Tenant = 7, Secret = "evil" });
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        Assert.Equal("canary two", await reader.Set<Cat>().Select(c => c.Secret).SingleAsync());
    }

    private static void RowKeyed(ModelBuilder m)
    {
        Configure(m);
        m.Entity<Pet>().HasDataKeyPerRow();
        m.UseEnvelopeEncryption();
    }

    private static void PerTenant(ModelBuilder m)
    {
        Configure(m);
        m.UseEnvelopeEncryption();
    }

    private static void Configure(ModelBuilder m)
    {
        m.Entity<Pet>(p =>
        {
            p.ToTable("Pets").HasDataKeyPerTenant(x => x.Tenant);
            p.Property(x => x.Id).ValueGeneratedNever();
        });
        m.Entity<Cat>().OwnsOne(x => x.Papers);
        m.Entity<Dog>();
    }

    private async Task<object?> RowIdAsync() => await _database.ScalarAsync("SELECT \"EnvelopeRowId\" FROM \"Pets\"");

    private async Task SaveAsync(Action<ModelBuilder> model, params object[] rows)
    {
        await using var context = New(model);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(rows);
        await context.SaveChangesAsync();
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private abstract class Pet
    {
        public int Id { get; set; }

        public int Tenant { get; set; }
    }

    private sealed class Cat : Pet
    {
        public string? Kind { get; set; }

        [Encrypted]
        public string? Secret { get; set; }

        public Papers? Papers { get; set; }
    }

    private sealed class Dog : Pet
    {
        public string? Kind { get; set; }
    }

    private sealed class Papers
    {
        [Encrypted]
        public string? Number { get; set; }
    }
}
