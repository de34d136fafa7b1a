using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteRowKeyMappingTests() : RowKeyMappingTests("SQLite");

public sealed class PostgresRowKeyMappingTests() : RowKeyMappingTests("PostgreSQL");

/// <summary>Mappings in which one row's key seals more than one table, document or type: all of it opens by the row id of the root, in a process that has no key yet.</summary>
public abstract class RowKeyMappingTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private static readonly Action<ModelBuilder> Parts = m =>
    {
        m.Entity<Vessel>(vessel =>
        {
            vessel.HasDataKeyPerTenant(v => v.TenantId).HasDataKeyPerRow();
            vessel.OwnsOne(v => v.Hull);
            vessel.OwnsOne(v => v.Papers, papers => papers.ToJson());
            vessel.OwnsMany(v => v.Masts, masts => masts.HasKey(x => x.Id));
            vessel.ComplexProperty(v => v.Engine, engine => engine.ToJson());
            vessel.ComplexCollection(v => v.Flags, flags => flags.ToJson());
        });
        m.UseEnvelopeEncryption();
    };

    private static readonly Dictionary<string, Action<ModelBuilder>> Hierarchies = new(StringComparer.Ordinal)
    {
        ["TPH"] = m => Hierarchy(m).UseTphMappingStrategy(),
        ["TPT"] = m => Hierarchy(m).UseTptMappingStrategy(),
        ["TPC"] = m => Hierarchy(m).UseTpcMappingStrategy(),
    };

    private static readonly Dictionary<string, Action<ModelBuilder>> Converted = new(StringComparer.Ordinal) { ["text"] = m => Buoys(m), ["bytes"] = m => Buoys(m) };

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Owned_types_documents_and_collections_share_the_roots_key()
    {
        await using (var context = New(Parts))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(NewVessel(1), NewVessel(2));
            await context.SaveChangesAsync();
        }

        await AssertVesselsAsync(["canary hull 1", "canary hull 2"], ["canary flag 1", "canary flag 2"], ["canary mast 1", "canary mast 2"], ["canary engine 1", "canary engine 2"], ["canary old 1", "canary old 2"]);
        await using (var context = New(Parts))
        {
            // Each part changes alone, in a save of its own.
            var vessel = await context.Set<Vessel>().OrderBy(v => v.Id).FirstAsync();
            vessel.Hull.Number = "canary hull x";
            Assert.Equal(1, await context.SaveChangesAsync());
            vessel.Papers.Flag = "canary flag x";
            Assert.Equal(1, await context.SaveChangesAsync());
            vessel.Masts[0].Wood = "canary mast x";
            vessel.Masts.Add(new Mast { Wood = "canary mast y" });
            Assert.Equal(2, await context.SaveChangesAsync());
            vessel.Engine.Flag = "canary engine x";
            Assert.Equal(1, await context.SaveChangesAsync());
            vessel.Flags[0].Flag = "canary old x";
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await AssertVesselsAsync(["canary hull x", "canary hull 2"], ["canary flag x", "canary flag 2"], ["canary mast x", "canary mast y", "canary mast 2"], ["canary engine x", "canary engine 2"], ["canary old x", "canary old 2"]);
        Assert.Equal(2L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL")));
    }

    [Theory]
    [InlineData("TPH")]
    [InlineData("TPT")]
    [InlineData("TPC")]
    public async Task A_hierarchy_shares_the_rows_key(string strategy)
    {
        var model = Hierarchies[strategy];
        await using (var context = New(model))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Boat { Id = 1, TenantId = Tenant, Name = "canary boat" }, new Tanker { Id = 2, TenantId = Tenant, Name = "canary tanker", Cargo = "canary oil" });
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using (var context = New(model))
        {
            var boats = await context.Set<Boat>().OrderBy(b => b.Id).ToListAsync();
            Assert.Equal(["canary boat", "canary tanker"], boats.Select(b => b.Name));
            Assert.Equal("canary oil", ((Tanker)boats[1]).Cargo);
            ((Tanker)boats[1]).Cargo = "canary gas";
            await context.SaveChangesAsync();
            boats[1].Name = "canary renamed";
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using var reader = New(model);
        Assert.Equal("canary gas", await reader.Set<Tanker>().Select(t => t.Cargo).SingleAsync());
        Assert.Equal(("canary renamed", "canary gas"), await reader.Set<Tanker>().AsNoTracking().Select(t => new ValueTuple<string?, string?>(t.Name, t.Cargo)).SingleAsync());
        Assert.Equal("canary renamed", (await reader.Set<Boat>().OfType<Tanker>().AsNoTracking().SingleAsync()).Name);
        Assert.Equal(3, await StoredCells.AssertSealedAsync(_database, reader, "canary"));
        Assert.Equal(2L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL")));
    }

    [Fact]
    public async Task Rows_without_cells_of_their_own()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<Harbour>(h =>
            {
                h.HasDataKeyPerTenant(x => x.TenantId).HasDataKeyPerRow();
                h.OwnsMany(x => x.Masts, masts => masts.ToTable("HarbourMasts").HasKey(x => x.Id));
            });
            m.Entity<Crew>().HasDataKeyPerTenant(x => x.TenantId).HasDataKeyPerRow();
            m.Entity<Captain>();
            m.UseEnvelopeEncryption();
        }

        await using (var context = New(Model))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Harbour { TenantId = Tenant }, new Harbour { TenantId = Tenant });
            context.AddRange(new Crew { TenantId = Tenant }, new Crew { TenantId = Tenant }, new Captain { TenantId = Tenant, Code = "canary code" });
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using (var context = New(Model))
        {
            foreach (var harbour in await context.Set<Harbour>().ToListAsync())
            {
                harbour.Masts.Add(new Mast { Wood = $"canary {harbour.Id}" });
            }

            context.Add(new Crew { TenantId = Tenant });
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using var reader = New(Model);
        Assert.Equal(["canary 1", "canary 2"], (await reader.Set<Harbour>().AsNoTracking().OrderBy(h => h.Id).ToListAsync()).SelectMany(h => h.Masts).Select(x => x.Wood));
        Assert.Equal("canary code", (await reader.Set<Crew>().AsNoTracking().ToListAsync()).OfType<Captain>().Single().Code);

        // Rows of a type that never holds a cell get no key.
        Assert.Equal(3L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL")));
    }

    [Theory]
    [InlineData("text")]
    [InlineData("bytes")]
    public async Task Row_ids_that_the_model_converts(string form)
    {
        var model = Converted[form];

        // At each use: EF forgets models when there are many, and builds this one again.
        AdHocContext Open() => New(model, form == "text" ? c => c.Properties<Guid>().HaveConversion<string>() : c => c.Properties<Guid>().HaveConversion<byte[]>());
        await using (var context = Open())
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Buoy { Name = "canary" });
            await context.SaveChangesAsync();
        }

        await ColdAsync();
        await using (var context = Open())
        {
            (await context.Set<Buoy>().SingleAsync()).Name = "canary 2";
            await context.SaveChangesAsync();
        }

        await using (var context = Open())
        {
            context.Attach(new Buoy { Id = 1 }).Entity.Name = "canary 3";
            await context.SaveChangesAsync();
        }

        await using var reader = Open();
        Assert.Equal("canary 3", (await reader.Set<Buoy>().AsNoTracking().SingleAsync()).Name);
        await _database.ExecuteAsync($"UPDATE \"Buoys\" SET \"EnvelopeRowId\" = {(form == "text" ? $"'{Guid.NewGuid()}'" : provider == "SQLite" ? "x'000102030405060708090a0b0c0d0e0f'" : "'\\x000102030405060708090a0b0c0d0e0f'::bytea")}");
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Set<Buoy>().AsNoTracking().SingleAsync());
    }

    private async Task AssertVesselsAsync(string[] hulls, string[] papers, string[] masts, string[] engines, string[] flags)
    {
        await ColdAsync();
        await using (var context = New(Parts))
        {
            var vessels = await context.Set<Vessel>().AsNoTracking().OrderBy(v => v.Id).ToListAsync();
            Assert.Equal(hulls, vessels.Select(v => v.Hull.Number));
            Assert.Equal(papers, vessels.Select(v => v.Papers.Flag));
            Assert.Equal(masts, vessels.SelectMany(v => v.Masts.OrderBy(x => x.Id)).Select(x => x.Wood));
            Assert.Equal(engines, vessels.Select(v => v.Engine.Flag));
            Assert.Equal(flags, vessels.SelectMany(v => v.Flags).Select(f => f.Flag));
        }

        // Each part projected alone.
        await ColdAsync();
        await using var reader = New(Parts);
        var all = reader.Set<Vessel>().OrderBy(v => v.Id);
        Assert.Equal(hulls, await all.Select(v => v.Hull.Number).ToListAsync());
        Assert.Equal(papers, await all.Select(v => v.Papers.Flag).ToListAsync());
        Assert.Equal(engines, await all.Select(v => v.Engine.Flag).ToListAsync());
        Assert.Equal(masts.Order(StringComparer.Ordinal), (await reader.Set<Vessel>().SelectMany(v => v.Masts).Select(x => x.Wood).ToListAsync()).Order(StringComparer.Ordinal));
        Assert.Equal(engines, (await all.Select(v => v.Engine).AsNoTracking().ToListAsync()).Select(e => e.Flag));
        await StoredCells.AssertSealedAsync(_database, reader, "canary");
    }

    private async Task ColdAsync()
    {
        await using var connection = _database.Connect();
        EfEnvelope.Keys.KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
    }

    private AdHocContext New(Action<ModelBuilder> model, Action<ModelConfigurationBuilder>? conventions = null) => new(_database.Options(more: AdHocContext.Cached), model, conventions);

    private static void Buoys(ModelBuilder m)
    {
        m.Entity<Buoy>().ToTable("Buoys").HasDataKeyPerRow();
        m.UseEnvelopeEncryption();
    }

    private static Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Boat> Hierarchy(ModelBuilder m)
    {
        m.Entity<Tanker>();
        var boat = m.Entity<Boat>().HasDataKeyPerTenant(b => b.TenantId).HasDataKeyPerRow();
        boat.Property(b => b.Id).ValueGeneratedNever();
        m.UseEnvelopeEncryption();
        return boat;
    }

    private static Vessel NewVessel(int n) => new()
    {
        TenantId = Tenant,
        Hull = new Hull { Yard = "y", Number = $"canary hull {n}" },
        Papers = new Papers { Kind = "k", Flag = $"canary flag {n}" },
        Engine = new Papers { Kind = "k", Flag = $"canary engine {n}" },
        Flags = [new Papers { Kind = "k", Flag = $"canary old {n}" }],
        Masts = [new Mast { Wood = $"canary mast {n}" }],
    };

    private sealed class Vessel
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        public Hull Hull { get; set; } = new();

        public Papers Papers { get; set; } = new();

        public Papers Engine { get; set; } = new();

        public List<Papers> Flags { get; set; } = [];

        public List<Mast> Masts { get; set; } = [];
    }

    private sealed class Hull
    {
        public string Yard { get; set; } = "";

        [Encrypted]
        public string? Number { get; set; }
    }

    private sealed class Papers
    {
        public string Kind { get; set; } = "";

        [Encrypted]
        public string? Flag { get; set; }
    }

    private sealed class Mast
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Wood { get; set; }
    }

    private class Boat
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Tanker : Boat
    {
        [Encrypted]
        public string? Cargo { get; set; }
    }

    private sealed class Buoy
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Harbour
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        public List<Mast> Masts { get; set; } = [];
    }

    private class Crew
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }
    }

    private sealed class Captain : Crew
    {
        [Encrypted]
        public string? Code { get; set; }
    }
}
