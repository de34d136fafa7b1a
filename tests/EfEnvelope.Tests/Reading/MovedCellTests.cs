using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteMovedCellTests() : MovedCellTests("SQLite");

public sealed class PostgresMovedCellTests() : MovedCellTests("PostgreSQL");

/// <summary>A cell of another tenant, or of a row with another key, is refused in every shape of query that materialises its row (G4).</summary>
public abstract class MovedCellTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Animal>().UseTpcMappingStrategy().HasDataKeyPerTenant(a => a.Tenant);
        model.Entity<Cat>().ToTable("Cats");
        model.Entity<Dog>().ToTable("Dogs");
        model.Entity<Fish>(fish =>
        {
            fish.ToTable("Fish").OwnsOne(f => f.Gill);
            fish.Property(f => f.Tag).IsEncrypted(e => e.IsRowBound());
        });
        model.Entity<Owner>(owner =>
        {
            owner.ToTable("Owners").HasDataKeyPerTenant(o => o.Tenant);
            owner.OwnsOne(o => o.Home);
            owner.OwnsMany(o => o.Gadgets, gadget => gadget.ToTable("Gadgets").HasKey(g => g.Id));
            owner.HasMany(o => o.Pets).WithOne().HasForeignKey(p => p.OwnerId);
        });
        model.Entity<Vault>(vault =>
        {
            vault.ToTable("Vaults").HasDataKeyPerTenant(v => v.Tenant).HasDataKeyPerRow();
            vault.OwnsMany(v => v.Slots, slot => slot.ToTable("Slots").HasKey(s => s.Id));
        });
        model.Entity<Pet>().ToTable("Pets").HasDataKeyPerTenant(p => p.Tenant);
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        foreach (var tenant in new[] { 1, 2 })
        {
            // Of one tenant: their keys are told apart by the row.
            context.Add(new Vault { Tenant = 1, Name = $"vault {tenant}", Slots = { new Slot { Code = $"code {tenant}" } } });
            context.AddRange(
                new Cat { Tenant = tenant, Name = $"cat {tenant}", Colour = $"colour {tenant}" },
                new Dog { Tenant = tenant, Name = $"dog {tenant}", Breed = $"breed {tenant}" },
                new Fish { Tenant = tenant, Name = $"fish {tenant}", Depth = $"depth {tenant}", Tag = $"tag {tenant}", Gill = new Gill { Colour = $"gill {tenant}" } },
                new Owner { Tenant = tenant, Name = $"owner {tenant}", Home = new Home { Street = $"street {tenant}" }, Gadgets = { new Gadget { Serial = $"serial {tenant}" } }, Pets = { new Pet { Tenant = tenant, Chip = $"chip {tenant}" } } });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    public static TheoryData<string, string, string> Shapes()
    {
        var data = new TheoryData<string, string, string>();
        foreach (var (table, column, shapes) in new (string, string, string[])[]
        {
            ("Owners", "Name", ["entities", "first of each group", "distinct in front", "paged", "left joined", "filtered include", "raw SQL"]),
            ("Owners", "Home_Street", ["entities", "raw SQL", "home by raw SQL", "home by raw SQL in another order"]),
            ("Pets", "Chip", ["included", "split", "joined", "flattened", "explicitly loaded", "left joined pets"]),
            ("Gadgets", "Serial", ["entities", "paged", "split", "split and paged", "split and paged by another column", "projected collection", "split projected collection", "flattened gadgets", "first gadget of each", "counted and split"]),
            ("Vaults", "Name", ["vaults", "vaults and slots split"]),
            ("Slots", "Code", ["vaults", "vaults and slots split", "slots of each vault"]),
            ("Cats", "Name", ["animals", "cats", "concatenated animals"]),
            ("Cats", "Colour", ["animals", "cats"]),
            ("Dogs", "Name", ["animals", "dogs"]),
            ("Dogs", "Breed", ["animals", "dogs", "concatenated animals"]),
            ("Fish", "Name", ["animals", "fish"]),
            ("Fish", "Depth", ["animals", "fish", "concatenated animals"]),
            ("Fish", "Tag", ["animals", "fish"]),
            ("Fish", "Gill_Colour", ["animals", "fish"]),
        })
        {
            foreach (var shape in shapes)
            {
                data.Add(table, column, shape);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public async Task A_cell_of_another_row_is_refused_in_every_shape_of_query(string table, string column, string shape)
    {
        await using (var context = New())
        {
            await QueryAsync(context, shape);
        }

        // Every cell of the column stands in the other row afterwards.
        var rows = new List<(string Id, byte[] Cell)>();
        await using (var connection = _database.Connect())
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = $"SELECT CAST(\"Id\" AS TEXT), \"{column}\" FROM \"{table}\"";
            await using var cells = await command.ExecuteReaderAsync();
            while (await cells.ReadAsync())
            {
                rows.Add((cells.GetString(0), cells.GetFieldValue<byte[]>(1)));
            }
        }

        Assert.Equal(2, rows.Count);
        var forger = new Forger(_database);
        await forger.PlantAsync(table, column, rows[1].Cell, $"CAST(\"Id\" AS TEXT) = '{rows[0].Id}'");
        await forger.PlantAsync(table, column, rows[0].Cell, $"CAST(\"Id\" AS TEXT) = '{rows[1].Id}'");
        await using var reader = New();
        var error = await Record.ExceptionAsync(() => QueryAsync(reader, shape));
        Assert.True(error is EnvelopeRefusedException, error?.ToString() ?? "was returned");
    }

    private static async Task QueryAsync(DbContext context, string shape)
    {
        var owners = context.Set<Owner>();
        var animals = context.Set<Animal>();
        switch (shape)
        {
            case "entities": NotEmpty(await owners.ToListAsync()); break;
            case "split and paged by another column": NotEmpty(await owners.OrderBy(o => o.Id).Skip(0).Take(10).AsSplitQuery().ToListAsync()); break;
            case "projected collection": NotEmpty(await owners.AsNoTracking().Select(o => new { o.Id, o.Gadgets }).ToListAsync()); break;
            case "split projected collection": NotEmpty(await owners.AsNoTracking().AsSplitQuery().OrderBy(o => o.Id).Select(o => new { o.Id, o.Gadgets }).ToListAsync()); break;
            case "flattened gadgets": NotEmpty(await owners.AsNoTracking().SelectMany(o => o.Gadgets).ToListAsync()); break;
            case "first gadget of each": NotEmpty(await owners.AsNoTracking().Select(o => o.Gadgets.OrderBy(g => g.Id).FirstOrDefault()).ToListAsync()); break;
            case "counted and split": NotEmpty(await owners.Where(o => o.Gadgets.Count > 0).AsSplitQuery().ToListAsync()); break;
            case "first of each group": NotEmpty(await owners.GroupBy(o => o.Tenant).Select(g => g.OrderBy(o => o.Id).First()).ToListAsync()); break;
            case "distinct in front": NotEmpty(await owners.Select(o => o.Id).Distinct().Join(owners, id => id, o => o.Id, (_, o) => o).ToListAsync()); break;
            case "paged": NotEmpty(await owners.OrderBy(o => o.Id).Skip(0).Take(10).ToListAsync()); break;
            case "left joined": NotEmpty(await owners.LeftJoin(context.Set<Pet>(), o => o.Id, p => p.OwnerId, (o, p) => o).ToListAsync()); break;
            case "filtered include": NotEmpty(await owners.Include(o => o.Pets.Where(p => p.Tenant > 0).OrderBy(p => p.Id)).ToListAsync()); break;
            case "raw SQL": NotEmpty(await owners.FromSqlRaw("SELECT * FROM \"Owners\"").ToListAsync()); break;
            case "home by raw SQL": NotEmpty(await owners.FromSqlRaw("SELECT * FROM \"Owners\"").AsNoTracking().Select(o => o.Home).ToListAsync()); break;
            case "home by raw SQL in another order": NotEmpty(await owners.FromSqlRaw("SELECT \"Home_Street\", \"Name\", \"Tenant\", \"Id\" FROM \"Owners\"").AsNoTracking().Select(o => o.Home).ToListAsync()); break;
            case "included": NotEmpty(await owners.Include(o => o.Pets).ToListAsync()); break;
            case "split": NotEmpty(await owners.Include(o => o.Pets).AsSplitQuery().ToListAsync()); break;
            case "split and paged": NotEmpty(await owners.OrderBy(o => o.Tenant).ThenBy(o => o.Id).Take(10).AsSplitQuery().AsNoTracking().ToListAsync()); break;
            case "joined": NotEmpty(await owners.Join(context.Set<Pet>(), o => o.Id, p => p.OwnerId, (o, p) => new { o, p }).ToListAsync()); break;
            case "flattened": NotEmpty(await owners.SelectMany(o => o.Pets).ToListAsync()); break;
            case "left joined pets": NotEmpty(await owners.LeftJoin(context.Set<Pet>(), o => o.Id, p => p.OwnerId, (o, p) => new { o.Id, p }).ToListAsync()); break;
            case "explicitly loaded":
                foreach (var owner in await owners.ToListAsync())
                {
                    await context.Entry(owner).Collection(o => o.Pets).LoadAsync();
                }

                break;
            case "vaults": NotEmpty(await context.Set<Vault>().ToListAsync()); break;
            case "vaults and slots split": NotEmpty(await context.Set<Vault>().OrderBy(v => v.Id).Take(10).AsSplitQuery().ToListAsync()); break;
            case "slots of each vault": NotEmpty(await context.Set<Vault>().AsNoTracking().Select(v => new { v.Id, v.Slots }).ToListAsync()); break;
            case "animals": NotEmpty(await animals.ToListAsync()); break;
            case "cats": NotEmpty(await context.Set<Cat>().ToListAsync()); break;
            case "dogs": NotEmpty(await context.Set<Dog>().ToListAsync()); break;
            case "fish": NotEmpty(await context.Set<Fish>().ToListAsync()); break;
            case "concatenated animals": NotEmpty(await animals.Where(a => a.Tenant == 1).Concat(animals.Where(a => a.Tenant == 2)).ToListAsync()); break;
            default: throw new ArgumentOutOfRangeException(nameof(shape), shape, null);
        }

        static void NotEmpty<T>(List<T> rows) => Assert.NotEmpty(rows);
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private abstract class Animal
    {
        public Guid Id { get; set; } = Guid.NewGuid();

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Cat : Animal
    {
        [Encrypted]
        public string? Colour { get; set; }
    }

    private sealed class Dog : Animal
    {
        [Encrypted]
        public string? Breed { get; set; }
    }

    /// <summary>The third: PostgreSQL's provider casts the NULL that stands for its columns on both sides of the first union.</summary>
    private sealed class Fish : Animal
    {
        [Encrypted]
        public string? Depth { get; set; }

        public string? Tag { get; set; }

        public Gill? Gill { get; set; }
    }

    private sealed class Gill
    {
        [Encrypted]
        public string? Colour { get; set; }
    }

    private sealed class Home
    {
        [Encrypted]
        public string? Street { get; set; }
    }

    private sealed class Owner
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }

        public Home? Home { get; set; }

        public List<Gadget> Gadgets { get; set; } = [];

        public List<Pet> Pets { get; set; } = [];
    }

    private sealed class Gadget
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Serial { get; set; }
    }

    private sealed class Vault
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }

        public List<Slot> Slots { get; set; } = [];
    }

    private sealed class Slot
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Code { get; set; }
    }

    private sealed class Pet
    {
        public int Id { get; set; }

        public int OwnerId { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Chip { get; set; }
    }
}
