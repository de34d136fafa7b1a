using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Tests.Cryptography;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteColumnIdentityTests() : ColumnIdentityTests("SQLite");

public sealed class PostgresColumnIdentityTests() : ColumnIdentityTests("PostgreSQL");

/// <summary>Where a value belongs is authenticated (G3): an envelope opens in its own column, scope, purpose and encoding only, whatever classes, properties, tables and columns are called.</summary>
public abstract class ColumnIdentityTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task An_envelope_that_was_moved_to_another_column_scope_purpose_or_encoding_is_refused()
    {
        await using (var context = New(Before))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Person { Tenant = 1, Name = "name", Alias = "alias", Age = 7, Home = new Place { Street = "street" } }, new Person { Tenant = 2, Name = "other" });
            await context.SaveChangesAsync();
        }

        using var key = await new Forger(_database).StealAsync("tenant:1");
        byte[] asKek = SealedAsKek(key, "Person.Name", "tenant:1");
        byte[] asKekUnderTheKeysId = [.. asKek];
        key.Id.TryWriteBytes(asKekUnderTheKeysId.AsSpan(3), bigEndian: true, out _);
        var name = await CellAsync("Name", 1);
        foreach (var (what, column, cell) in new (string, string, byte[])[]
        {
            ("another column of the row", "Name", await CellAsync("Alias", 1)),
            ("an owned type's column", "Name", await CellAsync("Home_Street", 1)),
            ("another type's column", "Name", await CellAsync("Age", 1)),
            ("a column of another type", "Age", name),
            ("another tenant", "Name", await CellAsync("Name", 2)),
            ("another purpose of the key", "Name", asKek),
            ("another purpose under the key's id", "Name", asKekUnderTheKeysId),
            ("another encoding", "Name", Forger.Seal(key, "Person.Name", "tenant:1", "forged"u8.ToArray())),
            ("another number's encoding", "Age", Forger.Seal(key, "Person.Age", "tenant:1", 7.0)),
            ("a range that does not fit", "Age", Forger.Seal(key, "Person.Age", "tenant:1", long.MaxValue)),
        })
        {
            var before = await CellAsync(column, 1);
            await PlantAsync(column, cell);
            foreach (var projected in new[] { false, true })
            {
                await using var context = New(Before);
                var people = context.Set<Person>().AsNoTracking().Where(p => p.Tenant == 1);
                var error = await Record.ExceptionAsync(() => !projected ? people.ToListAsync()
                    : column == "Name" ? people.Select(p => new { p.Tenant, p.Name }).ToListAsync() : (Task)people.Select(p => p.Age).ToListAsync());
                Assert.True(error is EnvelopeRefusedException or KeyNotFoundInRingException, $"{what}, projected {projected}: {error?.ToString() ?? "was returned"}");
                Assert.True(error is KeyNotFoundInRingException || ((EnvelopeRefusedException)error!).ColumnId == "Person." + column, what);
            }

            await PlantAsync(column, before);
        }

        await using var after = New(Before);
        Assert.Equal("name", (await after.Set<Person>().SingleAsync(p => p.Tenant == 1)).Name);
    }

    [Fact]
    public async Task Renamed_classes_properties_tables_and_columns_open_under_the_same_column_ids()
    {
        await using (var context = New(Before))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Person { Tenant = 1, Name = "name", Alias = "alias", Age = 7, Home = new Place { Street = "street" } });
            await context.SaveChangesAsync();
        }

        await _database.ExecuteAsync("ALTER TABLE \"People\" RENAME TO \"Clients\"");
        foreach (var (from, to) in new[] { ("Name", "FullName"), ("Alias", "Nick"), ("Age", "Years"), ("Home_Street", "Address_Line") })
        {
            await _database.ExecuteAsync($"ALTER TABLE \"Clients\" RENAME COLUMN \"{from}\" TO \"{to}\"");
        }

        await using (var context = New(After))
        {
            var client = await context.Set<Client>().SingleAsync();
            Assert.Equal(("name", "alias", 7L, "street"), (client.FullName, client.Nick, client.Years, client.Address!.Line));
            Assert.Equal("alias", await context.Set<Client>().Select(c => c.Nick).SingleAsync());
            client.FullName = "renamed";
            context.Add(new Client { Tenant = 1, FullName = "new", Years = 8, Address = new Location { Line = "line" } });
            await context.SaveChangesAsync();
        }

        await using var reader = New(After);
        Assert.Equal(["new", "renamed"], (await reader.Set<Client>().AsNoTracking().ToListAsync()).Select(c => c.FullName).Order());
    }

    [Fact]
    public async Task Two_columns_of_one_id_are_refused_as_a_model()
    {
        await using var context = New(Twice);
        var error = Assert.Throws<EnvelopeConfigurationException>(() => context.Model);
        Assert.Contains("Person.Name", error.Message, StringComparison.Ordinal);

        static void Twice(ModelBuilder model)
        {
            Before(model);
            model.Entity<Person>().Property(p => p.Alias).IsEncrypted(e => e.HasColumnId("Person.Name"));
        }
    }

    private static void Before(ModelBuilder model)
    {
        model.Entity<Person>(person =>
        {
            person.ToTable("People").HasDataKeyPerTenant(p => p.Tenant);
            person.Property(p => p.Name).IsEncrypted();
            person.Property(p => p.Alias).IsEncrypted();
            person.Property(p => p.Age).IsEncrypted();
            person.OwnsOne(p => p.Home, home => home.Property(h => h.Street).IsEncrypted());
        });
        model.UseEnvelopeEncryption();
    }

    private static void After(ModelBuilder model)
    {
        model.Entity<Client>(client =>
        {
            client.ToTable("Clients").HasDataKeyPerTenant(c => c.Tenant);
            client.Property(c => c.FullName).IsEncrypted(e => e.HasColumnId("Person.Name"));
            client.Property(c => c.Nick).IsEncrypted(e => e.HasColumnId("Person.Alias"));
            client.Property(c => c.Years).IsEncrypted(e => e.HasColumnId("Person.Age"));
            client.OwnsOne(c => c.Address, address => address.Property(a => a.Line).IsEncrypted(e => e.HasColumnId("Person.Home.Street")));
        });
        model.UseEnvelopeEncryption();
    }

    /// <summary>What the same key material would seal as a kek, with the column's own binding.</summary>
    private static byte[] SealedAsKek(DataKey key, string columnId, string scope)
    {
        var material = new byte[32];
        key.CopyMaterialTo(material);
        return BouncyCastleFormat.Seal(material, "kek", 1, RandomNumberGenerator.GetBytes(20), "forged"u8.ToArray(), columnId, scope, "");
    }

    private async Task<byte[]> CellAsync(string column, int tenant) => (byte[])(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"People\" WHERE \"Tenant\" = {tenant}"))!;

    private Task PlantAsync(string column, byte[] cell) => new Forger(_database).PlantAsync("People", column, cell, "\"Tenant\" = 1");

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private sealed class Person
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public required string Name { get; set; }

        public string? Alias { get; set; }

        public int Age { get; set; }

        public Place? Home { get; set; }
    }

    private sealed class Place
    {
        public string? Street { get; set; }
    }

    private sealed class Client
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public required string FullName { get; set; }

        public string? Nick { get; set; }

        public long Years { get; set; }

        public Location? Address { get; set; }
    }

    private sealed class Location
    {
        public string? Line { get; set; }
    }
}
