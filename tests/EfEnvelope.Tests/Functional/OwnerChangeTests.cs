using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteOwnerChangeTests() : OwnerChangeTests("SQLite");

public sealed class PostgresOwnerChangeTests() : OwnerChangeTests("PostgreSQL");

/// <summary>Owned rows with a key of their own may be given to another owner: their cells stay under the former one's key.</summary>
public abstract class OwnerChangeTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false, 1, "tool", true)]
    [InlineData(false, 2, "tool", false)]
    [InlineData(false, 2, "tool and cell", false)]
    [InlineData(false, 2, "part", false)]
    [InlineData(true, 1, "tool", false)]
    [InlineData(true, 1, "part", false)]
    public async Task An_owned_row_goes_to_another_owner_of_the_same_key_only(bool rowKeys, int tenant, string what, bool moves)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await using (var context = New(model))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(
                new Person { Id = 1, Tenant = 1, Tools = [new Tool { Id = 7, Serial = "canary", Parts = [new Part { Id = 70, Code = "canary part" }] }] },
                new Person { Id = 2, Tenant = tenant, Tools = [new Tool { Id = 8, Serial = "canary other" }] });
            await context.SaveChangesAsync();
        }

        await using (var context = New(model))
        {
            var people = await context.Set<Person>().OrderBy(p => p.Id).ToListAsync();
            var tool = people[0].Tools.Single();
            if (what == "part")
            {
                context.Entry(tool.Parts.Single()).Property("ToolId").CurrentValue = 8;
            }
            else
            {
                context.Entry(tool).Property("PersonId").CurrentValue = 2;
            }

            if (what == "tool and cell")
            {
                tool.Serial = "changed too";
            }

            if (!moves)
            {
                var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
                Assert.Contains(what == "part" ? "Part" : "Tool", error.Entity, StringComparison.Ordinal);
            }
            else
            {
                await context.SaveChangesAsync();
            }
        }

        await using var reader = New(model);
        var tools = (await reader.Set<Person>().AsNoTracking().OrderBy(p => p.Id).ToListAsync()).ConvertAll(p => p.Tools.ToDictionary(t => t.Id));
        var read = tools[moves ? 1 : 0][7];
        Assert.Equal(("canary", "canary part"), (read.Serial, read.Parts.Single().Code));
        Assert.Equal(moves ? (0, 2) : (1, 1), (tools[0].Count, tools[1].Count));
    }

    [Theory]
    [InlineData(false, "graph")]
    [InlineData(true, "graph")]
    [InlineData(false, "one value")]
    [InlineData(true, "one value")]
    [InlineData(false, "stub owner")]
    [InlineData(false, "value below")]
    [InlineData(true, "value below")]
    [InlineData(false, "added below")]
    [InlineData(false, "detail")]
    public async Task What_the_entities_say_of_an_owner_is_compared_with_the_database(bool rowKeys, string what)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await using (var context = New(model))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(
                new Person { Id = 1, Tenant = 1, Tools = [new Tool { Id = 7, Serial = "canary", Detail = new Detail { Secret = "canary detail" }, Parts = [new Part { Id = 70, Code = "canary part" }] }] },
                new Person { Id = 2, Tenant = 2 });
            await context.SaveChangesAsync();
        }

        await using (var context = New(model))
        {
            switch (what)
            {
                case "graph":
                    context.Update(new Person { Id = 2, Tenant = 2, Name = "evil", Tools = [new Tool { Id = 7, Serial = "evil" }] });
                    break;
                case "one value":
                    var stub = new Person { Id = 2, Tenant = 2, Tools = [new Tool { Id = 7, Serial = "?" }] };
                    context.Attach(stub);
                    stub.Tools[0].Serial = "evil";
                    break;
                case "value below" or "added below" or "detail":
                    var attached = new Person { Id = 2, Tenant = 2, Tools = [new Tool { Id = 7, Serial = "?", Detail = new Detail { Secret = "?" }, Parts = [new Part { Id = 70, Code = "?" }] }] };
                    context.Attach(attached);
                    if (what == "value below")
                    {
                        attached.Tools[0].Parts[0].Code = "evil";
                    }
                    else if (what == "detail")
                    {
                        attached.Tools[0].Detail!.Secret = "evil";
                    }
                    else
                    {
                        attached.Tools[0].Parts.Add(new Part { Id = 71, Code = "evil" });
                    }

                    break;
                default:
                    var person = await context.Set<Person>().SingleAsync(p => p.Id == 1);
                    context.Attach(new Person { Id = 2, Tenant = 1 });
                    context.Entry(person.Tools[0]).Property("PersonId").CurrentValue = 2;
                    break;
            }

            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(model);
        var read = (await reader.Set<Person>().AsNoTracking().SingleAsync(p => p.Id == 1)).Tools.Single();
        Assert.Equal(("canary", "canary part", "canary detail"), (read.Serial, read.Parts.Single().Code, read.Detail?.Secret));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_graph_that_was_not_loaded_is_updated_though_its_rows_do_not_say_whose_they_are(bool rowKeys)
    {
        Action<ModelBuilder> model = rowKeys ? RowKeyed : PerTenant;
        await using (var context = New(model))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Person { Id = 1, Tenant = 1, Tools = [new Tool { Id = 7, Serial = "canary" }], Badges = [new Badge { Id = 9, Number = "canary" }] });
            await context.SaveChangesAsync();
        }

        await using (var context = New(model))
        {
            context.Update(new Person { Id = 1, Tenant = 1, Tools = [new Tool { Id = 7, Serial = "canary two" }], Badges = [new Badge { Id = 9, Number = "canary two" }] });
            await context.SaveChangesAsync();
        }

        await using var reader = New(model);
        var read = await reader.Set<Person>().AsNoTracking().SingleAsync();
        Assert.Equal(("canary two", "canary two"), (read.Tools.Single().Serial, read.Badges.Single().Number));
    }

    [Fact]
    public async Task A_save_that_makes_row_keys_leaves_unchanged_owners_of_changed_parts_unchanged()
    {
        await using var context = New(RowKeyed);
        await context.Database.EnsureCreatedAsync();
        var first = new Person { Id = 1, Tenant = 1, Name = "canary", Home = new Home { City = "a" } };
        context.Add(first);
        await context.SaveChangesAsync();

        context.Add(new Person { Id = 2, Tenant = 1, Name = "canary two" });
        first.Home.City = "b";
        Assert.Equal(2, await context.SaveChangesAsync());
        Assert.False(context.ChangeTracker.HasChanges());

        first.Home.City = "c";
        Assert.Equal(1, await context.SaveChangesAsync());
        Assert.False(context.ChangeTracker.HasChanges());
    }

    private static void RowKeyed(ModelBuilder m)
    {
        m.Entity<Person>().HasDataKeyPerRow();
        PerTenant(m);
    }

    private static void PerTenant(ModelBuilder m)
    {
        m.Entity<Person>(p =>
        {
            p.HasDataKeyPerTenant(x => x.Tenant);
            p.Property(x => x.Id).ValueGeneratedNever();
            p.OwnsOne(x => x.Home);
            p.OwnsMany(x => x.Badges, b =>
            {
                b.WithOwner().HasForeignKey(x => x.PersonId);
                b.HasKey(x => x.Id);
                b.Property(x => x.Id).ValueGeneratedNever();
            });
            p.OwnsMany(x => x.Tools, t =>
            {
                t.HasKey(x => x.Id);
                t.Property(x => x.Id).ValueGeneratedNever();
                t.OwnsOne(x => x.Detail);
                t.OwnsMany(x => x.Parts, c =>
                {
                    c.HasKey(x => x.Id);
                    c.Property(x => x.Id).ValueGeneratedNever();
                });
            });
        });
        m.UseEnvelopeEncryption();
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private sealed class Person
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }

        public Home Home { get; set; } = new();

        public List<Tool> Tools { get; set; } = [];

        public List<Badge> Badges { get; set; } = [];
    }

    private sealed class Badge
    {
        public int Id { get; set; }

        public int PersonId { get; set; }

        [Encrypted]
        public string? Number { get; set; }
    }

    private sealed class Home
    {
        public string? City { get; set; }
    }

    private sealed class Tool
    {
        public int Id { get; set; }

        public string? Label { get; set; }

        [Encrypted]
        public string? Serial { get; set; }

        public Detail? Detail { get; set; }

        public List<Part> Parts { get; set; } = [];
    }

    private sealed class Detail
    {
        [Encrypted]
        public string? Secret { get; set; }
    }

    private sealed class Part
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Code { get; set; }
    }
}
