using System.Globalization;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobShapeTests() : JobShapeTests("SQLite")
{
    [Theory]
    [InlineData("Animals")]
    [InlineData("Animals.of.the.zoo")]
    public Task A_column_that_only_another_context_knows_is_counted_and_withholds_the_proof(string table) => AssertWithheldAsync(table, null);

    [Fact]
    public Task A_document_that_only_another_context_knows_is_counted_and_withholds_the_proof() => AssertDocumentWithheldAsync(becameText: false);
}

public sealed class PostgresJobShapeTests() : JobShapeTests("PostgreSQL")
{
    [Theory]
    [InlineData("Animals", null)]
    [InlineData("Animals.of.the.zoo", null)]
    [InlineData("Animals", "zoo")]
    [InlineData("Animals.old", "zoo.south")]
    public Task A_column_that_only_another_context_knows_is_counted_and_withholds_the_proof(string table, string? schema) => AssertWithheldAsync(table, schema);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task A_document_that_only_another_context_knows_is_counted_and_withholds_the_proof(bool becameText) => AssertDocumentWithheldAsync(becameText);

    /// <summary>What docs/reencryption.md says of optimistic concurrency.</summary>
    [Fact]
    public async Task A_row_that_the_job_rewrote_is_a_concurrency_conflict_for_who_read_it_before_by_its_row_version()
    {
        await using var database = await TestDatabase.CreateAsync("PostgreSQL");
        static void Model(ModelBuilder model)
        {
            model.Entity<Party>(party =>
            {
                party.Ignore(p => p.Home).Ignore(p => p.Devices);
                party.Property<uint>("Version").IsRowVersion();
            });
            model.UseEnvelopeEncryption();
        }

        await using var application = New(database, Model);
        await application.Database.EnsureCreatedAsync();
        var party = new Party { Id = 1, TenantId = 1, Name = "before" };
        application.Add(party);
        await application.SaveChangesAsync();
        await using (var job = New(database, Model))
        {
            await new EnvelopeKeys(job).RotateAsync(EnvelopeScope.Global);
            Assert.Equal(1, (await new EnvelopeKeys(job).ReencryptAsync(Small)).Rows);
        }

        party.Name = "after";
        await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => application.SaveChangesAsync());
        await application.Entry(party).ReloadAsync();
        Assert.Equal("before", party.Name);
        party.Name = "after";
        await application.SaveChangesAsync();
    }
}

/// <summary>The job finds every table that holds envelopes, however the model maps them, and treats every row of it.</summary>
public abstract class JobShapeTests(string provider) : IAsyncLifetime
{
    protected static readonly ReencryptionOptions Small = new() { BatchSize = 7, UnitSize = 100, CutOffTimeout = TimeSpan.FromSeconds(30) };

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("TPH", 3)]
    [InlineData("TPT", 5)]
    [InlineData("TPC", 3)]
    public async Task Inherited_keys(string strategy, int rows)
    {
        Action<ModelBuilder> model = strategy switch
        {
            "TPH" => m => Animals(m).UseTphMappingStrategy(),
            "TPT" => m => Animals(m).UseTptMappingStrategy(),
            _ => m => Animals(m).UseTpcMappingStrategy(),
        };
        await CreateAsync(model);
        await using (var context = New(_database, model))
        {
            context.AddRange(new Animal { Id = 1, Name = "animal" }, new Dog { Id = 2, Name = "dog", Bark = "bark" }, new Cat { Id = 3, Name = "cat", Lives = 9 });
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        await RunAsync(model, rows);
        await using var reader = New(_database, model);
        var animals = await reader.Set<Animal>().OrderBy(a => a.Id).ToListAsync();
        Assert.Equal(("animal", "dog", "bark", "cat", 9), (animals[0].Name, animals[1].Name, ((Dog)animals[1]).Bark, animals[2].Name, ((Cat)animals[2]).Lives));
    }

    [Fact]
    public async Task Owned_split_and_JSON_tables_behind_a_query_filter()
    {
        Action<ModelBuilder> model = m =>
        {
            m.Entity<Party>(party =>
            {
                party.Property(p => p.Id).ValueGeneratedNever();
                party.HasDataKeyPerTenant(p => p.TenantId);
                party.HasQueryFilter(p => p.TenantId == 1);
                party.SplitToTable("PartyDetails", t => t.Property(p => p.Detail));
                party.OwnsOne(p => p.Home, home => home.ToTable("Homes"));
                party.OwnsMany(p => p.Devices, device =>
                {
                    device.ToTable("Devices");
                    device.HasKey(d => d.Id);
                });
            });
            m.Entity<Card>(card =>
            {
                card.Property(c => c.Id).ValueGeneratedNever();
                card.HasDataKeyPerTenant(c => c.TenantId);
                card.ComplexProperty(c => c.Contact, contact => contact.ToJson());
            });
            m.UseEnvelopeEncryption();
        };
        await CreateAsync(model);
        await using (var context = New(_database, model))
        {
            context.AddRange(Enumerable.Range(0, 20).Select(n => new Party
            {
                Id = n, TenantId = 1 + (n % 2), Name = $"name {n}", Detail = $"detail {n}", Home = new Home { Street = $"street {n}" },
                Devices = [new Device { Serial = $"a{n}" }, new Device { Serial = $"b{n}" }],
            }));
            context.AddRange(Enumerable.Range(0, 20).Select(n => new Card { Id = n, TenantId = 1 + (n % 2), Contact = new Contact { Phone = $"phone {n}" } }));
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(1));
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(2));
        }

        await RunAsync(model, 20 + 20 + 20 + 40 + 20);
        await using var reader = New(_database, model);
        var parties = await reader.Set<Party>().IgnoreQueryFilters().OrderBy(p => p.Id).ToListAsync();
        Assert.Equal(
            Enumerable.Range(0, 20).Select(n => ((string?)$"name {n}", (string?)$"detail {n}", (string?)$"street {n}", $"a{n},b{n}")),
            parties.Select(p => (p.Name, p.Detail, p.Home!.Street, string.Join(',', p.Devices.Select(d => d.Serial).Order(StringComparer.Ordinal)))));
        Assert.Equal(Enumerable.Range(0, 20).Select(n => $"phone {n}"), (await reader.Set<Card>().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Contact.Phone));
    }

    [Fact]
    public async Task Triggers_fire_for_every_row_and_stay_enabled()
    {
        await CreateAsync(Simple);
        await using (var context = New(_database, Simple))
        {
            context.AddRange(Enumerable.Range(0, 20).Select(n => new Party { Id = n, TenantId = 1, Name = n < 15 ? $"name {n}" : null }));
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        await _database.ExecuteAsync("CREATE TABLE \"Touched\" (\"Id\" INTEGER)");
        if (provider == "PostgreSQL")
        {
            await _database.ExecuteAsync("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO \"Touched\" VALUES (NEW.\"Id\"); RETURN NULL; END $$; CREATE TRIGGER touch AFTER UPDATE ON \"Party\" FOR EACH ROW EXECUTE FUNCTION touch()");
        }
        else
        {
            await _database.ExecuteAsync("CREATE TRIGGER touch AFTER UPDATE ON \"Party\" BEGIN INSERT INTO \"Touched\" VALUES (NEW.\"Id\"); END");
        }

        await RunAsync(Simple, 15);
        Assert.Equal(15L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(DISTINCT \"Id\") FROM \"Touched\""), CultureInfo.InvariantCulture));
        await _database.ExecuteAsync("UPDATE \"Party\" SET \"TenantId\" = 2 WHERE \"Id\" = 19");
        Assert.Equal(16L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"Touched\""), CultureInfo.InvariantCulture));
    }

    protected async Task AssertWithheldAsync(string table, string? schema)
    {
        Action<ModelBuilder> both = m =>
        {
            m.Entity<Animal>().ToTable(table, schema);
            Simple(m);
        };
        await CreateAsync(both);
        await using (var context = New(_database, both))
        {
            context.AddRange(new Animal { Id = 1, Name = "animal" }, new Party { Id = 1, TenantId = 1, Name = "name" });
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        await using (var context = New(_database, Simple))
        {
            var keys = new EnvelopeKeys(context);
            var old = (await keys.ListAsync()).Single(k => k.State == KeyState.Deactivated);
            var report = await keys.ReencryptAsync(Small);
            Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.StaleCells));
            Assert.Contains($"{(schema is null ? "" : $"{schema}.")}{table}.Name", report.NotProvenBecause, StringComparison.Ordinal);
            Assert.Contains("another context", report.NotProvenBecause, StringComparison.Ordinal);
            await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(old.Id));
        }

        await RunAsync(both, 1);
        await _database.ExecuteAsync($"DROP TABLE {(schema is null || provider == "SQLite" ? "" : $"\"{schema}\".")}\"{table}\"");
        await using (var context = New(_database, Simple))
        {
            var keys = new EnvelopeKeys(context);
            var missing = Assert.Single((await keys.TakeCensusAsync()).MissingColumns);
            Assert.Equal((schema ?? (provider == "SQLite" ? null : "public")) is { } stands ? $"{stands}.{table}" : table, missing.Table);
            Assert.Equal(("Name", false), (missing.Column, missing.IsFound));
            await keys.ForgetColumnAsync(missing.Table, missing.Column);
        }

        await RunAsync(Simple, 0);
    }

    protected async Task AssertDocumentWithheldAsync(bool becameText)
    {
        Action<ModelBuilder> both = m =>
        {
            m.Entity<Card>(card =>
            {
                card.Property(c => c.Id).ValueGeneratedNever();
                card.OwnsOne(c => c.Contact, contact =>
                {
                    contact.ToJson();
                    contact.Property(c => c.Phone).IsEncrypted();
                });
            });
            Simple(m);
        };
        await CreateAsync(both);
        await using (var context = New(_database, both))
        {
            context.AddRange(new Card { Id = 1, Contact = new Contact { Phone = "phone" } }, new Party { Id = 1, TenantId = 1, Name = "name" });
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        if (becameText)
        {
            await _database.ExecuteAsync("ALTER TABLE \"Card\" ALTER COLUMN \"Contact\" TYPE text");
        }

        await using (var context = New(_database, Simple))
        {
            var keys = new EnvelopeKeys(context);
            var old = (await keys.ListAsync()).Single(k => k.State == KeyState.Deactivated);
            var report = await keys.ReencryptAsync(Small);
            Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.StaleCells));
            Assert.Contains("Card.Contact", report.NotProvenBecause, StringComparison.Ordinal);
            await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(old.Id));
        }

        if (!becameText)
        {
            await RunAsync(both, 1);
        }
    }

    protected static AdHocContext New(TestDatabase database, Action<ModelBuilder> model)
        => new(database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }), AdHocContext.Cached), model);

    private static void Simple(ModelBuilder model)
    {
        model.Entity<Party>(party =>
        {
            party.Property(p => p.Id).ValueGeneratedNever();
            party.Ignore(p => p.Home).Ignore(p => p.Devices);
        });
        model.UseEnvelopeEncryption();
    }

    private static Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Animal> Animals(ModelBuilder model)
    {
        var animals = model.Entity<Animal>();
        animals.Property(a => a.Id).ValueGeneratedNever();
        model.Entity<Dog>();
        model.Entity<Cat>();
        return animals;
    }

    private async Task CreateAsync(Action<ModelBuilder> model)
    {
        await using var context = New(_database, model);
        await context.Database.EnsureCreatedAsync();
    }

    private async Task RunAsync(Action<ModelBuilder> model, long rows)
    {
        await using var context = New(_database, model);
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((rows, 0L, 0L), (report.Rows, report.Conflicts, report.Census.StaleCells));
    }

    protected sealed class Party
    {
        public int Id { get; set; }

        public int TenantId { get; set; }

        [Encrypted]
        public string? Name { get; set; }

        [Encrypted]
        public string? Detail { get; set; }

        public Home? Home { get; set; }

        public List<Device> Devices { get; set; } = [];
    }

    protected sealed class Card
    {
        public int Id { get; set; }

        public int TenantId { get; set; }

        public Contact Contact { get; set; } = new();
    }

    protected sealed class Home
    {
        [Encrypted]
        public string? Street { get; set; }
    }

    protected sealed class Device
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Serial { get; set; }
    }

    protected sealed class Contact
    {
        public string Kind { get; set; } = "plain";

        [Encrypted]
        public string? Phone { get; set; }
    }

    private class Animal
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Dog : Animal
    {
        [Encrypted]
        public string? Bark { get; set; }
    }

    private sealed class Cat : Animal
    {
        [Encrypted]
        public int Lives { get; set; }
    }
}
