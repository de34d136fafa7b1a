using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteMappingTests() : MappingTests("SQLite");

public sealed class PostgresMappingTests() : MappingTests("PostgreSQL");

/// <summary>Every mapping of EF Core (G29), under the key of its row's tenant: what was saved comes back, and no table holds a canary.</summary>
public abstract partial class MappingTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("TPH")]
    [InlineData("TPT")]
    [InlineData("TPC")]
    public async Task Inheritance(string strategy)
    {
        Action<ModelBuilder> model = strategy switch
        {
            "TPH" => m => Animals(m).UseTphMappingStrategy(),
            "TPT" => m => Animals(m).UseTptMappingStrategy(),
            _ => m => Animals(m).UseTpcMappingStrategy(),
        };
        await CreateAsync(model);
        await using (var context = New(model))
        {
            context.AddRange(
                new Animal { Id = 1, TenantId = TenantA, Name = "canary animal" },
                new Dog { Id = 2, TenantId = TenantA, Name = "canary dog", Bark = "canary bark" },
                new Cat { Id = 3, TenantId = TenantB, Name = "canary cat", Lives = 9 });
            Assert.Equal(strategy == "TPT" ? 5 : 3, await context.SaveChangesAsync());
        }

        await using (var context = New(model))
        {
            var animals = await context.Set<Animal>().OrderBy(a => a.Id).ToListAsync();
            Assert.Equal(["canary animal", "canary dog", "canary cat"], animals.Select(a => a.Name));
            Assert.Equal(("canary bark", 9), (((Dog)animals[1]).Bark, ((Cat)animals[2]).Lives));
            ((Dog)animals[1]).Bark = "canary changed";
            animals[2].Name = "canary renamed";
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        await using var reader = New(model);
        Assert.Equal(("canary dog", "canary changed"), await reader.Set<Dog>().Select(d => new ValueTuple<string?, string?>(d.Name, d.Bark)).SingleAsync());
        Assert.Equal("canary renamed", (await reader.Set<Animal>().OfType<Cat>().SingleAsync()).Name);
        Assert.Equal(["canary changed"], await reader.Set<Animal>().OfType<Dog>().Select(d => d.Bark).ToListAsync());
        Assert.Equal(5, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
        reader.Remove(await reader.Set<Animal>().SingleAsync(a => a.Id == 2));
        Assert.Equal(strategy == "TPT" ? 2 : 1, await reader.SaveChangesAsync());
    }

    [Fact]
    public async Task Table_splitting()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Order>(o =>
            {
                o.ToTable("Orders");
                o.HasDataKeyPerTenant(x => x.TenantId);
                o.HasOne(x => x.Detail).WithOne().HasForeignKey<OrderDetail>(d => d.Id);
                o.Navigation(x => x.Detail).IsRequired();
            });
            m.Entity<OrderDetail>(d =>
            {
                d.ToTable("Orders");
                d.HasDataKeyPerTenant(x => x.TenantId);
                d.Property(x => x.TenantId).HasColumnName("TenantId");
            });
            m.Entity<Order>().Property(x => x.TenantId).HasColumnName("TenantId");
            m.UseEnvelopeEncryption();
        }

        await CreateAsync(Model);
        await using (var context = New(Model))
        {
            context.AddRange(
                new Order { TenantId = TenantA, Title = "canary a", Detail = new OrderDetail { TenantId = TenantA, Text = "canary detail a" } },
                new Order { TenantId = TenantB, Title = "canary b", Detail = new OrderDetail { TenantId = TenantB, Text = "canary detail b" } });
            await context.SaveChangesAsync();
        }

        await using (var context = New(Model))
        {
            var detail = await context.Set<OrderDetail>().OrderBy(d => d.Id).FirstAsync();
            detail.Text = "canary changed";
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        var orders = await reader.Set<Order>().Include(o => o.Detail).OrderBy(o => o.Id).ToListAsync();
        Assert.Equal([("canary a", "canary changed"), ("canary b", "canary detail b")], orders.Select(o => (o.Title, o.Detail!.Text)));
        Assert.Equal(4, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
    }

    [Fact]
    public async Task Siblings_that_share_a_column()
    {
        static void Model(ModelBuilder m)
        {
            Animals(m).UseTphMappingStrategy();
            m.Entity<Dog>().Property(d => d.Bark).HasColumnName("Sound").IsEncrypted(e => e.HasColumnId("Animal.Sound"));
            m.Entity<Cat>().Property(c => c.Meow).HasColumnName("Sound").IsEncrypted(e => e.HasColumnId("Animal.Sound"));
        }

        await CreateAsync(Model);
        await using (var context = New(Model))
        {
            context.AddRange(
                new Dog { Id = 1, TenantId = TenantA, Name = "canary dog", Bark = "canary bark" },
                new Cat { Id = 2, TenantId = TenantB, Name = "canary cat", Meow = "canary meow" });
            await context.SaveChangesAsync();
        }

        await using (var context = New(Model))
        {
            var animals = await context.Set<Animal>().OrderBy(a => a.Id).ToListAsync();
            animals[0].Name = "canary renamed";
            ((Cat)animals[1]).Meow = "canary changed";
            await context.SaveChangesAsync();
            Assert.Equal("canary bark", ((Dog)animals[0]).Bark);
        }

        await using var reader = New(Model);
        Assert.Equal("canary bark", (await reader.Set<Dog>().SingleAsync()).Bark);
        Assert.Equal("canary changed", (await reader.Set<Cat>().SingleAsync()).Meow);
        Assert.Equal(5, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
    }

    [Fact]
    public async Task Entity_splitting()
    {
        void Model(ModelBuilder m) => People(m, p => p.SplitToTable("People2", t =>
        {
            t.Property(x => x.Name);
            t.Property(x => x.Age);
        }));
        await SavePeopleAsync(Model, 3);
        Assert.Equal(2, (await StoredCells.ScopesAsync(_database, "People2", "Name", "Id")).Count);
        await ChangeAsync(Model, p => p.Name = "canary changed");
        await ChangeAsync(Model, p => p.Email = "canary other");
        var seen = await FirstAsync(Model);
        Assert.Equal(("canary changed", "canary other", 31), (seen.Name, seen.Email, seen.Age));
    }

    [Fact]
    public async Task Shadow_property()
    {
        void Model(ModelBuilder m) => People(m, p => p.Property<string?>("Shadow").IsEncrypted());
        await CreateAsync(Model);
        await using (var context = New(Model))
        {
            var person = NewPerson(1, TenantA);
            context.Add(person);
            context.Entry(person).Property("Shadow").CurrentValue = "canary shadow";
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        Assert.Equal("canary shadow", await reader.Set<Person>().Select(p => EF.Property<string?>(p, "Shadow")).SingleAsync());
        var tracked = await reader.Set<Person>().SingleAsync();
        Assert.Equal("canary shadow", reader.Entry(tracked).Property("Shadow").CurrentValue);
        Assert.Equal(4, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
    }

    [Fact]
    public async Task Keyless_view_over_the_same_columns()
    {
        static void Model(ModelBuilder m)
        {
            People(m, _ => { });
            m.Entity<PersonView>(v =>
            {
                v.HasNoKey().ToView("PersonView");
                v.HasDataKeyPerTenant(x => x.TenantId);
                v.Property(x => x.Name).IsEncrypted(e => e.HasColumnId("Person.Name"));
            });
            m.UseEnvelopeEncryption();
        }

        await SavePeopleAsync(Model, 0);
        await _database.ExecuteAsync("CREATE VIEW \"PersonView\" AS SELECT \"TenantId\", \"Name\", \"City\" FROM \"People\"");
        await using var context = New(Model);
        Assert.Equal(["canary 1", "canary 2"], (await context.Set<PersonView>().ToListAsync()).Select(v => v.Name).Order(StringComparer.Ordinal));
        Assert.Equal("canary 1", await context.Set<PersonView>().Where(v => v.TenantId == TenantA).Select(v => v.Name).SingleAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Key_that_the_client_or_the_store_generates(bool guid)
    {
        Action<ModelBuilder> model = guid
            ? m =>
            {
                m.Entity<GuidKeyed>().HasDataKeyPerTenant(x => x.TenantId);
                m.UseEnvelopeEncryption();
            }
            : m =>
            {
                m.Entity<IdentityKeyed>().HasDataKeyPerTenant(x => x.TenantId);
                m.UseEnvelopeEncryption();
            };
        await CreateAsync(model);
        await using (var context = New(model))
        {
            context.AddRange(Enumerable.Range(0, 200).Select(i => guid
                ? (object)new GuidKeyed { TenantId = i % 2 == 0 ? TenantA : TenantB, Secret = $"canary {i}", Plain = i }
                : new IdentityKeyed { TenantId = i % 2 == 0 ? TenantA : TenantB, Secret = $"canary {i}", Plain = i }));
            Assert.Equal(200, await context.SaveChangesAsync());
        }

        await using var reader = New(model);
        var seen = guid
            ? await reader.Set<GuidKeyed>().Select(x => new { x.Plain, x.Secret }).ToListAsync()
            : await reader.Set<IdentityKeyed>().Select(x => new { x.Plain, x.Secret }).ToListAsync();
        Assert.All(seen, x => Assert.Equal($"canary {x.Plain}", x.Secret));
        Assert.Equal(200, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
    }

    [Fact]
    public async Task Value_converted_id_as_scope()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Typed>(t =>
            {
                t.Property(x => x.Tenant).HasConversion(id => id.Value, value => new TenantId(value));
                t.Property(x => x.Id).HasConversion(id => id.Value, value => new TypedId(value)).ValueGeneratedNever();
                t.HasDataKeyPerTenant(x => x.Tenant);
            });
            m.UseEnvelopeEncryption();
        }

        await CreateAsync(Model);
        await using (var context = New(Model))
        {
            context.AddRange(
                new Typed { Id = new TypedId(1), Tenant = new TenantId(TenantA), Secret = "canary a" },
                new Typed { Id = new TypedId(2), Tenant = new TenantId(TenantB), Secret = "canary b" });
            await context.SaveChangesAsync();
        }

        await using var reader = New(Model);
        Assert.Equal(["canary a", "canary b"], (await reader.Set<Typed>().ToListAsync()).Select(t => t.Secret).Order(StringComparer.Ordinal));
        Assert.Equal(
            [$"tenant:{TenantA:D}", $"tenant:{TenantB:D}"],
            (await StoredCells.ScopesAsync(_database, "Typed", "Secret", "Id")).OrderBy(p => p.Other, StringComparer.Ordinal).Select(p => p.Scope));
        reader.Add(new Typed { Id = new TypedId(3), Tenant = new TenantId(Guid.Empty), Secret = "canary none" });
        await Assert.ThrowsAsync<MissingScopeException>(() => reader.SaveChangesAsync());
        Assert.Equal(2, await StoredCells.CountAsync(_database, "Typed"));
    }

    [Fact]
    public async Task Many_to_many_with_encrypted_ends_and_payload()
    {
        static void Model(ModelBuilder m)
        {
            People(m, p => p.HasMany(x => x.Groups).WithMany(g => g.Members).UsingEntity<Membership>());
            m.Entity<Group>().HasDataKeyPerTenant(g => g.TenantId);
            m.UseEnvelopeEncryption();
        }

        await CreateAsync(Model);
        await using (var context = New(Model))
        {
            var person = NewPerson(1, TenantA);
            person.Groups.Add(new Group { TenantId = TenantA, Title = "canary group" });
            context.Add(person);
            await context.SaveChangesAsync();
            (await context.Set<Membership>().SingleAsync()).Remark = "canary remark";
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var reader = New(Model);
        Assert.Equal("canary group", (await reader.Set<Person>().Include(p => p.Groups).AsSplitQuery().SingleAsync()).Groups.Single().Title);
        Assert.Equal("canary remark", (await reader.Set<Membership>().SingleAsync()).Remark);
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    private static Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Animal> Animals(ModelBuilder model)
    {
        var animal = model.Entity<Animal>();
        animal.Property(a => a.Id).ValueGeneratedNever();
        animal.HasDataKeyPerTenant(a => a.TenantId);
        model.Entity<Dog>();
        model.Entity<Cat>();
        return animal;
    }

    /// <summary>A person of whose members only those are mapped that a test maps.</summary>
    private static void People(ModelBuilder model, Action<Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Person>> configure)
    {
        model.Entity<Person>(person =>
        {
            person.ToTable("People");
            person.HasDataKeyPerTenant(p => p.TenantId);
            configure(person);
            foreach (var name in new[] { nameof(Person.Home), nameof(Person.Devices), nameof(Person.Contact), nameof(Person.Contacts), nameof(Person.Groups) })
            {
                if (person.Metadata.FindNavigation(name)?.ForeignKey.IsOwnership != true && person.Metadata.FindSkipNavigation(name) is null
                    && person.Metadata.FindComplexProperty(name) is null)
                {
                    person.Ignore(name);
                }
            }
        });
        foreach (var address in model.Model.FindEntityTypes(typeof(Address)).ToList())
        {
            if (address.FindNavigation(nameof(Address.Place))?.ForeignKey.IsOwnership != true)
            {
                address.AddIgnored(nameof(Address.Place));
                if (address.FindNavigation(nameof(Address.Place)) is { } place)
                {
                    address.RemoveForeignKey(place.ForeignKey);
                }
            }
        }
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private async Task CreateAsync(Action<ModelBuilder> model)
    {
        await using var context = New(model);
        await context.Database.EnsureCreatedAsync();
    }

    private async Task SavePeopleAsync(Action<ModelBuilder> model, int cellsEach)
    {
        await CreateAsync(model);
        await using (var context = New(model))
        {
            context.AddRange(NewPerson(1, TenantA), NewPerson(2, TenantB));
            await context.SaveChangesAsync();
        }

        await using var reader = New(model);
        var found = await StoredCells.AssertSealedAsync(_database, reader, "canary");
        if (cellsEach > 0)
        {
            Assert.Equal(2 * cellsEach, found);
        }
    }

    private async Task ChangeAsync(Action<ModelBuilder> model, Action<Person> change)
    {
        await using (var context = New(model))
        {
            change(await context.Set<Person>().OrderBy(p => p.Id).FirstAsync());
            Assert.True(await context.SaveChangesAsync() > 0);
        }

        await using var reader = New(model);
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    private async Task<Person> FirstAsync(Action<ModelBuilder> model)
    {
        await using var context = New(model);
        var untracked = await context.Set<Person>().AsNoTracking().OrderBy(p => p.Id).FirstAsync();
        var tracked = await context.Set<Person>().OrderBy(p => p.Id).FirstAsync();
        Assert.Equal(untracked.Name, tracked.Name);
        Assert.False(context.ChangeTracker.HasChanges());
        return tracked;
    }

    private static Person NewPerson(int n, Guid tenant) => new()
    {
        Id = n,
        TenantId = tenant,
        Name = $"canary {n}",
        Email = "canary mail",
        Age = 30 + n,
        City = "Bern",
        Home = new Address { City = "Bern", Street = $"canary street {n}", Number = 7, Since = new DateOnly(2020, 1, 1), Place = new Place { Note = "canary note", Floor = n } },
        Devices = [new Device { Serial = $"canary serial {n}a" }, new Device { Serial = $"canary serial {n}b" }],
        Contact = new Contact { Kind = "home", Phone = $"canary phone {n}", Pin = 42, Detail = new Detail { Count = n, Text = "canary detail" } },
        Contacts = [new Contact { Kind = "one", Phone = "canary one" }],
    };
}
