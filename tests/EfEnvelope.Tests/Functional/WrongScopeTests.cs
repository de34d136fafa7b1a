using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteWrongScopeTests() : WrongScopeTests("SQLite");

public sealed class PostgresWrongScopeTests() : WrongScopeTests("PostgreSQL");

/// <summary>Stubs and entities that say another tenant or row id than their row in the database: their cells would open nowhere, so nothing is written.</summary>
public abstract class WrongScopeTests(string provider) : IAsyncLifetime
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

    [Theory]
    [InlineData("root")]
    [InlineData("same table")]
    [InlineData("member")]
    [InlineData("document")]
    [InlineData("added beside")]
    [InlineData("changed beside")]
    public async Task A_stub_of_another_tenant_changes_nothing(string what)
    {
        var saved = await SaveAsync();
        await using (var context = New())
        {
            var stub = new Person
            {
                Id = saved.Id,
                TenantId = TenantB,
                Name = "?",
                Home = new Place { City = "?", Street = "?" },
                Detail = new Detail { Theme = "?", Secret = "?" },
                Tools = what == "changed beside" ? [new Tool { Id = saved.Tools[0].Id, Serial = "?" }] : [],
            };
            context.Attach(stub);
            switch (what)
            {
                case "root":
                    stub.Name = "evil";
                    break;
                case "same table":
                    stub.Home.Street = "evil";
                    break;
                case "member":
                    stub.Detail.Secret = "evil";
                    break;
                case "document":
                    stub.Detail = new Detail { Theme = "evil", Secret = "evil" };
                    break;
                case "added beside":
                    stub.Tools.Add(new Tool { Serial = "evil" });
                    break;
                default:
                    stub.Tools[0].Serial = "evil";
                    break;
            }

            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await AssertAsync(saved.Id, "name", "street", "secret", ["serial"]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_stub_of_a_derived_type_in_a_table_of_its_own_changes_its_own_tenants_row_only(bool own)
    {
        var car = new Car { TenantId = TenantA, Name = "name", Power = 7 };
        await using (var context = New())
        {
            context.Add(car);
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            var stub = new Car { Id = car.Id, TenantId = own ? TenantA : TenantB, Name = "?" };
            context.Attach(stub);
            stub.Power = 66;
            if (own)
            {
                Assert.Equal(1, await context.SaveChangesAsync());
            }
            else
            {
                await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
            }
        }

        await using var reader = New();
        var read = await reader.Cars.AsNoTracking().SingleAsync();
        Assert.Equal(("name", own ? 66 : 7), (read.Name, read.Power));
    }

    [Fact]
    public async Task Cells_in_other_tables_are_written_where_the_stub_says_the_rows_own_tenant()
    {
        var saved = await SaveAsync();
        await using (var context = New())
        {
            var stub = new Person { Id = saved.Id, TenantId = TenantA, Name = "?", Tools = [new Tool { Id = saved.Tools[0].Id, Serial = "?" }] };
            context.Attach(stub);
            stub.Tools[0].Serial = "changed";
            stub.Tools.Add(new Tool { Serial = "z added" });
            Assert.Equal(2, await context.SaveChangesAsync());
        }

        await AssertAsync(saved.Id, "name", "street", "secret", ["changed", "z added"]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Another_rows_id_is_refused_whether_it_was_attached_or_set(bool attached)
    {
        Token one = new() { Text = "1", Other = "o1" }, two = new() { Text = "2", Other = "o2" };
        await using (var context = New())
        {
            context.AddRange(one, two);
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            if (attached)
            {
                var stub = new Token { Id = one.Id, EnvelopeRowId = two.EnvelopeRowId, Text = "?" };
                context.Attach(stub);
                stub.Text = "evil";
                await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
            }
            else
            {
                var token = await context.Tokens.SingleAsync(t => t.Id == one.Id);
                (token.EnvelopeRowId, token.Text) = (two.EnvelopeRowId, "evil");
                var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
                Assert.Equal(("Token", "EnvelopeRowId"), (error.Entity, error.Property));
            }
        }

        await using var reader = New();
        Assert.Equal(["1/o1", "2/o2"], (await reader.Tokens.AsNoTracking().OrderBy(t => t.Id).ToListAsync()).OrderBy(t => t.Text, StringComparer.Ordinal).Select(t => $"{t.Text}/{t.Other}"));
    }

    /// <summary>EF makes one update of the two, which writes the tenant and the row id too.</summary>
    [Fact]
    public async Task A_row_that_is_removed_and_added_again_in_one_save_opens_afterwards_also_under_another_tenant()
    {
        var person = await SaveAsync();
        var token = new Token { Text = "1", Other = "o1" };
        await using (var context = New())
        {
            context.Add(token);
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            context.Remove(await context.Notes.SingleAsync(n => n.Id == person.Id));
            context.Add(new Note { Id = person.Id, TenantId = TenantB, Text = "moved" });
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            var moved = await context.Notes.AsNoTracking().SingleAsync();
            Assert.Equal((TenantB, "moved"), (moved.TenantId, moved.Text));
            context.Remove(await context.Notes.SingleAsync(n => n.Id == person.Id));
            context.Add(new Note { Id = person.Id, TenantId = TenantA, Text = "replaced" });
            context.Remove(await context.Tokens.SingleAsync());
            context.Add(new Token { Id = token.Id, Text = "2", Other = "o2" });
            await context.SaveChangesAsync();
            (await context.Tokens.SingleAsync()).Text = "3";
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var reader = New();
        Assert.Equal("replaced", (await reader.Notes.AsNoTracking().SingleAsync()).Text);
        var read = await reader.Tokens.AsNoTracking().SingleAsync();
        Assert.Equal(("3", "o2"), (read.Text, read.Other));
    }

    [Theory]
    [InlineData(1UL)]
    [InlineData(1UL << 63)]
    [InlineData(ulong.MaxValue - 1)]
    public async Task Tenants_and_keys_of_64_bits_without_a_sign_are_read(ulong number)
    {
        await using (var context = New())
        {
            context.Add(new Sheet { Id = number, TenantId = number, Text = "sealed", Bound = "bound" });
            await context.SaveChangesAsync();
        }

        await using var reader = New();
        var sheet = await reader.Sheets.AsNoTracking().SingleAsync();
        Assert.Equal((number, "sealed", "bound"), (sheet.TenantId, sheet.Text, sheet.Bound));
    }

    private async Task<Person> SaveAsync()
    {
        await using var context = New();
        var person = new Person
        {
            TenantId = TenantA,
            Name = "name",
            Home = new Place { City = "city", Street = "street" },
            Detail = new Detail { Theme = "theme", Secret = "secret" },
            Tools = [new Tool { Serial = "serial" }],
        };
        context.Add(person);
        await context.SaveChangesAsync();
        context.Add(new Note { Id = person.Id, TenantId = TenantA, Text = "note" });
        await context.SaveChangesAsync();
        return person;
    }

    private async Task AssertAsync(int id, string name, string street, string secret, string[] serials)
    {
        await using var reader = New();
        var person = await reader.People.AsNoTracking().SingleAsync(p => p.Id == id);
        Assert.Equal((name, street, secret), (person.Name, person.Home.Street, person.Detail.Secret));
        Assert.Equal(serials, person.Tools.Select(t => t.Serial).Order(StringComparer.Ordinal));
    }

    private StubContext New() => new(_database.Options());

    public sealed class Person
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public required string Name { get; set; }

        public Place Home { get; set; } = new();

        public Detail Detail { get; set; } = new();

        public List<Tool> Tools { get; set; } = [];
    }

    public abstract class Asset
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public required string Name { get; set; }
    }

    /// <summary>In a table of its own, which does not hold the tenant.</summary>
    public sealed class Car : Asset
    {
        [Encrypted]
        public int Power { get; set; }
    }

    public sealed class Place
    {
        public string City { get; set; } = "";

        [Encrypted]
        public string? Street { get; set; }
    }

    public sealed class Detail
    {
        public string Theme { get; set; } = "";

        [Encrypted]
        public string? Secret { get; set; }
    }

    public sealed class Tool
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Serial { get; set; }
    }

    public sealed class Note
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Token
    {
        public int Id { get; set; }

        public Guid EnvelopeRowId { get; set; }

        [Encrypted]
        public string? Text { get; set; }

        [Encrypted]
        public string? Other { get; set; }
    }

    public sealed class Sheet
    {
        public ulong Id { get; set; }

        public ulong TenantId { get; set; }

        [Encrypted]
        public string? Text { get; set; }

        [Encrypted(RowBound = true)]
        public string? Bound { get; set; }
    }

    public sealed class StubContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<Person> People => Set<Person>();

        public DbSet<Car> Cars => Set<Car>();

        public DbSet<Note> Notes => Set<Note>();

        public DbSet<Token> Tokens => Set<Token>();

        public DbSet<Sheet> Sheets => Set<Sheet>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Asset>().UseTptMappingStrategy().HasDataKeyPerTenant(a => a.TenantId);
            modelBuilder.Entity<Car>();
            modelBuilder.Entity<Person>(person =>
            {
                person.HasDataKeyPerTenant(b => b.TenantId);
                person.OwnsOne(b => b.Home);
                person.OwnsOne(b => b.Detail, detail => detail.ToJson());
                person.OwnsMany(b => b.Tools, tool => tool.HasKey(t => t.Id));
            });
            modelBuilder.Entity<Note>(note =>
            {
                note.HasDataKeyPerTenant(n => n.TenantId);
                note.Property(n => n.Id).ValueGeneratedNever();
            });
            modelBuilder.Entity<Token>().HasDataKeyPerRow();
            modelBuilder.Entity<Sheet>(sheet =>
            {
                sheet.HasDataKeyPerTenant(s => s.TenantId);
                sheet.Property(s => s.Id).ValueGeneratedNever();
            });
            modelBuilder.UseEnvelopeEncryption();
        }
    }
}
