using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Storage.Ring;

public sealed class SqliteRingPlaceTests() : RingPlaceTests("SQLite");

public sealed class PostgresRingPlaceTests() : RingPlaceTests("PostgreSQL");

/// <summary>Where a ring may stand, and that two are never mixed.</summary>
public abstract class RingPlaceTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private readonly ScriptedKeyService _kms = new();
    private readonly FakeTimeProvider _clock = new();
    private readonly List<TestDatabase> _databases = [];

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (var database in _databases)
        {
            await database.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_database_per_tenant_under_one_runtime_never_mixes_rings()
    {
        var databases = new List<(TestDatabase Database, DbContextOptions Options)>();
        for (var i = 0; i < 4; i++)
        {
            var database = await CreateAsync();
            databases.Add((database, database.Options(e => e.UseTimeProvider(_clock))));
        }

        for (var round = 0; round < 2; round++)
        {
            foreach (var (database, options) in databases)
            {
                await using var context = new BankContext(options);
                context.Add(NewCustomer(database.ConnectionString));
                await context.SaveChangesAsync();
            }
        }

        var ids = new HashSet<Guid>();
        foreach (var (database, options) in databases)
        {
            await using var context = new BankContext(options);
            Assert.All(await context.Customers.AsNoTracking().ToListAsync(), c => Assert.Equal(database.ConnectionString, c.FullName));
            Assert.True(ids.Add((await new EnvelopeKeys(context).ListAsync()).Single(k => k.Purpose == KeyPurpose.Field).Id));

            // Nothing of another database's ring is there: what a cold process reads says so.
            await using var cold = new BankContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
            Assert.Equal(2, (await cold.Customers.AsNoTracking().ToListAsync()).Count);
        }
    }

    [Fact]
    public async Task A_context_that_changes_its_database_changes_its_ring()
    {
        var (first, second) = (await CreateAsync(), await CreateAsync());
        await using var context = new BankContext(first.Options(e => e.UseTimeProvider(_clock)));
        context.Add(NewCustomer("first"));
        await context.SaveChangesAsync();
        context.ChangeTracker.Clear();
        context.Database.SetConnectionString(second.ConnectionString);
        context.Add(NewCustomer("second"));
        await context.SaveChangesAsync();
        foreach (var (database, name) in new[] { (first, "first"), (second, "second") })
        {
            await using var cold = new BankContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
            Assert.Equal(name, (await cold.Customers.AsNoTracking().SingleAsync()).FullName);
        }
    }

    [Fact]
    public async Task A_database_that_is_deleted_and_made_anew_by_the_context_gets_a_ring_of_its_own_at_once()
    {
        var database = await CreateAsync();
        var options = database.Options(e => e.UseTimeProvider(_clock));
        Guid old;
        long columns;
        await using (var context = new BankContext(options))
        {
            context.Add(NewCustomer("old"));
            await context.SaveChangesAsync();
            old = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Purpose == KeyPurpose.Field).Id;
            columns = await CountAsync(database, "EnvelopeColumns");
            Assert.NotEqual(0L, columns);
            await context.Database.EnsureDeletedAsync();
            Assert.False(KeyRingRegistry.TryResolveForOpening(old, out _));
            await context.Database.EnsureCreatedAsync();
        }

        await using (var context = new BankContext(options))
        {
            context.Add(NewCustomer("new"));
            await context.SaveChangesAsync();
            Assert.Equal("new", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            Assert.NotEqual(old, (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Purpose == KeyPurpose.Field).Id);
            Assert.Equal(columns, await CountAsync(database, "EnvelopeColumns"));
        }

        await using var cold = new BankContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
        Assert.Equal("new", (await cold.Customers.AsNoTracking().SingleAsync()).FullName);
    }

    [Fact]
    public async Task A_ring_that_was_replaced_behind_the_process_is_noticed_within_the_lease_and_its_keys_dropped()
    {
        var database = await CreateAsync();
        var options = database.Options(e => e.UseTimeProvider(_clock));
        await using (var context = new BankContext(options))
        {
            context.Add(NewCustomer("old"));
            await context.SaveChangesAsync();
        }

        var columns = await CountAsync(database, "EnvelopeColumns");
        Assert.NotEqual(0L, columns);
        foreach (var table in new[] { "Customers", "EnvelopeKeys", "EnvelopeRing", "EnvelopeColumns" })
        {
            await database.ExecuteAsync($"DELETE FROM \"{table}\"");
        }

        _clock.Advance(TimeSpan.FromSeconds(61));
        await using (var context = new BankContext(options))
        {
            context.Add(NewCustomer("new"));
            await context.SaveChangesAsync();
        }

        Assert.Equal(columns, await CountAsync(database, "EnvelopeColumns"));
        await using var cold = new BankContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
        Assert.Equal("new", (await cold.Customers.AsNoTracking().SingleAsync()).FullName);
    }

    [Fact]
    public async Task A_ring_in_a_database_of_its_own_serves_every_operation()
    {
        var (data, ring) = (await CreateAsync(), await CreateAsync());
        DbContextOptions Options(TimeProvider clock) => data.Options(e => e.UseTimeProvider(clock).UseKeyRing(ring.Connect));
        await using (var context = new BankContext(Options(_clock)))
        {
            context.Add(NewCustomer("one"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "card" });
            await context.SaveChangesAsync();
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(NewCustomer("two"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "card2" });
            await context.SaveChangesAsync();
            await transaction.CommitAsync();
        }

        Assert.Equal(0L, await CountAsync(data, "EnvelopeKeys"));
        Assert.Equal(0L, await CountAsync(data, "EnvelopeRing"));
        Assert.Equal(5L, await CountAsync(ring, "EnvelopeKeys"));

        await using (var context = new BankContext(Options(new PatientClock())))
        {
            Assert.Equal(["one", "two"], (await context.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
            Assert.Equal(["card", "card2"], (await context.Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
            var keys = new EnvelopeKeys(context);
            var old = (await keys.ListAsync()).Single(k => k.Purpose == KeyPurpose.Field);
            await keys.ReportCompromisedAsync(EnvelopeScope.Tenant(Tenant), "test");
            var report = await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
            Assert.Equal(4, report.Rows);
            Assert.Equal(0, (await keys.TakeCensusAsync()).CountOf(old.Id));
            await keys.RevokeAsync(old.Id);
        }

        await using (var context = new BankContext(Options(new FakeTimeProvider())))
        {
            Assert.Equal(["one", "two"], (await context.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
            Assert.Equal(["card", "card2"], (await context.Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
        }
    }

    [Fact]
    public async Task A_ring_of_another_provider_is_refused()
    {
        var database = await CreateAsync();
        await using var context = new BankContext(database.Options(e => e.UseKeyRing(() => provider == "SQLite" ? new Npgsql.NpgsqlConnection() : new Microsoft.Data.Sqlite.SqliteConnection())));
        context.Add(NewCustomer("x"));
        Assert.Contains("same provider", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.SaveChangesAsync())).Message, StringComparison.Ordinal);
        Assert.Equal(0L, await CountAsync(database, "Customers"));
    }

    [Fact]
    public async Task A_rolled_back_row_leaves_an_orphan_in_a_separate_ring_and_harms_nobody()
    {
        var (data, ring) = (await CreateAsync(), await CreateAsync());
        await using var context = new BankContext(data.Options(e => e.UseTimeProvider(_clock).UseKeyRing(ring.Connect)));
        await using (var transaction = await context.Database.BeginTransactionAsync())
        {
            context.Add(new PaymentCard { TenantId = Tenant, Number = "gone" });
            await context.SaveChangesAsync();
            await transaction.RollbackAsync();
        }

        context.ChangeTracker.Clear();
        context.Add(new PaymentCard { TenantId = Tenant, Number = "kept" });
        await context.SaveChangesAsync();
        Assert.Equal("kept", (await context.Cards.AsNoTracking().SingleAsync()).Number);
    }

    [Fact]
    public async Task Two_contexts_over_one_database_share_the_ring_that_one_of_them_owns()
    {
        var database = await CreateAsync();
        await using (var notes = new NotesContext(database.Options(e => e.UseTimeProvider(_clock))))
        {
            // The owner's tables are there: only this context's own are made.
            var script = notes.Database.GenerateCreateScript();
            Assert.DoesNotContain("EnvelopeKeys", script, StringComparison.Ordinal);
            Assert.Contains("Notes", script, StringComparison.Ordinal);
            foreach (var statement in script.Split(";", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(s => s.Length > 0 && s != "GO"))
            {
                await database.ExecuteAsync(statement);
            }

            notes.Add(new Note { Text = "secret" });
            await notes.SaveChangesAsync();
        }

        await using (var bank = new BankContext(database.Options(e => e.UseTimeProvider(_clock))))
        {
            bank.Add(new Ledger { Code = "x", Year = 1, Balance = 7 });
            await bank.SaveChangesAsync();
            Assert.Equal(7, (await bank.Ledgers.AsNoTracking().SingleAsync()).Balance);

            // One global key, used by both.
            Assert.Single(await new EnvelopeKeys(bank).ListAsync(), k => k is { Scope: "global", Purpose: KeyPurpose.Field });
        }

        await using var cold = new NotesContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
        Assert.Equal("secret", (await cold.Notes.AsNoTracking().SingleAsync()).Text);
    }

    [Fact]
    public async Task Names_and_schema_of_the_rings_tables_can_be_set()
    {
        var database = await TestDatabase.CreateAsync(provider);
        _databases.Add(database);
        database.KeyService = _kms;
        var options = database.Options(e => e.UseTimeProvider(_clock));
        await using (var context = new NamedRingContext(options, provider == "SQLite" ? null : "vault"))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Note { Text = "secret" });
            await context.SaveChangesAsync();
            var keys = new EnvelopeKeys(context);
            await keys.RotateAsync(EnvelopeScope.Global);
            Assert.Equal(1, (await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero })).Rows);
        }

        var prefix = provider == "SQLite" ? "" : "vault.";
        Assert.Equal(3L, Convert.ToInt64(await database.ScalarAsync($"SELECT COUNT(*) FROM {prefix}\"Safe Keys\"")));
        Assert.Equal(1L, Convert.ToInt64(await database.ScalarAsync($"SELECT COUNT(*) FROM {prefix}\"Safe Ring\"")));
        await using var cold = new NamedRingContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())), provider == "SQLite" ? null : "vault");
        Assert.Equal("secret", (await cold.Notes.AsNoTracking().SingleAsync()).Text);
    }

    [Fact]
    public async Task A_missing_ring_table_says_what_to_do_and_nothing_is_written()
    {
        var database = await CreateAsync();
        await database.ExecuteAsync("DROP TABLE \"EnvelopeRing\"");
        await using var context = new BankContext(database.Options(e => e.UseTimeProvider(_clock)));
        context.Add(NewCustomer("x"));
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.SaveChangesAsync());
        Assert.Contains("migration", error.Message, StringComparison.Ordinal);
        Assert.Equal(0L, await CountAsync(database, "Customers"));
    }

    private static Customer NewCustomer(string name) => new() { TenantId = Tenant, FullName = name, Ssn = "s" };

    private static async Task<long> CountAsync(TestDatabase database, string table) => Convert.ToInt64(await database.ScalarAsync($"SELECT COUNT(*) FROM \"{table}\""));

    private async Task<TestDatabase> CreateAsync()
    {
        var database = await TestDatabase.CreateAsync(provider);
        _databases.Add(database);
        database.KeyService = _kms;
        await using var context = new BankContext(database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
        await context.Database.EnsureCreatedAsync();
        return database;
    }

    public sealed class Note
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Text { get; set; }
    }

    public sealed class NotesContext(DbContextOptions options) : DbContext(options)
    {
        public DbSet<Note> Notes => Set<Note>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Note>();
            modelBuilder.UseEnvelopeEncryption(e => e.ExcludeFromMigrations());
        }
    }

    public sealed class NamedRingContext(DbContextOptions options, string? schema) : DbContext(options)
    {
        public DbSet<Note> Notes => Set<Note>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Note>();
            modelBuilder.UseEnvelopeEncryption(e => e.HasSchema(schema).HasTablePrefix("Safe "));
        }
    }
}
