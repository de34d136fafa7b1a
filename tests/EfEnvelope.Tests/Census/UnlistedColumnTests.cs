using System.Data.Common;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace EfEnvelope.Tests.Census;

public sealed class SqliteUnlistedColumnTests() : UnlistedColumnTests("SQLite");

public sealed class PostgresUnlistedColumnTests() : UnlistedColumnTests("PostgreSQL")
{
    private const string InFront = "CREATE SCHEMA front; CREATE TABLE front.\"Orders\" (LIKE public.\"Orders\" INCLUDING ALL)";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_table_that_is_made_in_front_of_another_of_its_name_is_counted_before_its_process_knows(bool isSet)
    {
        await using var a = await CreateAsync();
        await using var b = New(Orders, "front,public");
        await SaveAsync(b, 1);
        await Database.ExecuteAsync(InFront);
        await using var other = New(Orders, interceptor: new SearchPath("front"));
        await SaveAsync(isSet ? other : b, 2);
        Assert.Equal(1L, await Database.ScalarAsync("SELECT COUNT(*) FROM front.\"Orders\""));
        var old = await AssertWithheldAsync(a, 1, "front.Orders.Iban");

        // Its process lists it as soon as the ring has changed; who works on it moves it.
        await using var job = New(Orders, "front,public");
        var report = await new EnvelopeKeys(job).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 2L), (report.Rows, report.Census.Cells));
        Assert.Equal(KeyState.Revoked, (await new EnvelopeKeys(a).RevokeAsync(old)).State);
    }

    [Fact]
    public async Task A_table_that_is_made_in_front_is_listed_within_the_lease_though_the_ring_is_as_it_was()
    {
        await using var b = await CreateAsync("front,public");
        await SaveAsync(b, 1);
        await Database.ExecuteAsync(InFront);
        Database.Time.Advance(TimeSpan.FromSeconds(61));
        await SaveAsync(b, 2);
        Assert.Equal(["front.Orders", "public.Orders"], (await new EnvelopeKeys(b).ListColumnsAsync()).Select(c => c.Table));
    }

    [Fact]
    public async Task A_partition_that_was_detached_is_counted()
    {
        await using var a = await CreateAsync();
        await Database.ExecuteAsync(
            """
            DROP TABLE "Orders"; CREATE TABLE "Orders" ("Id" integer PRIMARY KEY, "Iban" bytea NOT NULL) PARTITION BY RANGE ("Id");
            CREATE TABLE "Orders_1" PARTITION OF "Orders" FOR VALUES FROM (0) TO (10); CREATE TABLE "Orders_2" PARTITION OF "Orders" FOR VALUES FROM (10) TO (20)
            """);
        await SaveAsync(a, 1);
        await SaveAsync(a, 11);
        Assert.Equal(2, (await new EnvelopeKeys(a).TakeCensusAsync()).Cells);
        await Database.ExecuteAsync("ALTER TABLE \"Orders\" DETACH PARTITION \"Orders_2\"");
        await AssertWithheldAsync(a, 1, "public.Orders_2.Iban");
    }

    [Fact]
    public async Task A_table_that_takes_anothers_name_while_a_census_begins_is_not_counted_for_it()
    {
        await using var a = await CreateAsync();
        await SaveAsync(a, 1);
        await using var connection = new NpgsqlConnection(Database.ConnectionString);
        await connection.OpenAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand("ALTER TABLE \"Orders\" RENAME TO \"Behind\"; CREATE TABLE \"Orders\" (LIKE \"Behind\" INCLUDING ALL)", connection, transaction);
        await command.ExecuteNonQueryAsync();
        var counting = Task.Run(() => new EnvelopeKeys(a).TakeCensusAsync());
        while (!counting.IsCompleted && await Database.ScalarAsync("SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") is not > 0L)
        {
            await Task.Yield();
        }

        await transaction.CommitAsync();
        Assert.Equal(["public.Behind"], (await counting).Entries.Select(e => e.Table));
    }

    [Fact]
    public async Task Tables_of_other_rings_and_such_that_the_role_may_not_read_stand_in_nobodys_way()
    {
        await using var a = await CreateAsync();
        await SaveAsync(a, 1);
        await Database.ExecuteAsync("CREATE SCHEMA own; CREATE SCHEMA secret; CREATE TABLE secret.\"Orders\" (LIKE public.\"Orders\"); INSERT INTO secret.\"Orders\" SELECT * FROM public.\"Orders\"");
        await using (var other = New(Orders, "own"))
        {
            await other.Database.ExecuteSqlRawAsync(other.Database.GenerateCreateScript());
            await SaveAsync(other, 1);
            Assert.Equal(["own.Orders"], (await new EnvelopeKeys(other).ListColumnsAsync()).Select(c => c.Table));
        }

        var role = await RoleAsync();
        await using var b = New(Orders, connectionString: role);
        await RotateAsync(new EnvelopeKeys(b));
        var report = await new EnvelopeKeys(b).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 1L), (report.Rows, report.Census.Cells));
    }

    [Fact]
    public async Task A_model_with_a_table_that_is_not_there_asks_for_it_no_more_than_once_in_a_lease_and_lists_it_when_it_is_written_to()
    {
        await using var a = New(Both);
        await a.Database.EnsureCreatedAsync();
        await Database.ExecuteAsync("DROP TABLE \"Ghosts\"");
        await SaveAsync(a, 1);
        await SaveAsync(a, 2);
        using (var commands = new Keys.CommandCount("EnvelopeColumns"))
        {
            await SaveAsync(a, 3);
            Assert.Equal(0, commands.OfTheTable);
            Database.Time.Advance(TimeSpan.FromSeconds(61));
            await SaveAsync(a, 4);
            Assert.InRange(commands.OfTheTable, 1, 2);
        }

        await Database.ExecuteAsync("CREATE TABLE \"Ghosts\" (\"Id\" integer PRIMARY KEY, \"Ether\" bytea NOT NULL)");
        a.Add(new Ghost { Id = 1, Ether = "e" });
        await a.SaveChangesAsync();
        Assert.Equal(["public.Ghosts", "public.Orders"], (await new EnvelopeKeys(a).ListColumnsAsync()).Select(c => c.Table));
    }

    private static void Both(ModelBuilder model)
    {
        model.Entity<Ghost>().ToTable("Ghosts").Property(g => g.Id).ValueGeneratedNever();
        Orders(model);
    }

    private async Task<string> RoleAsync()
    {
        var name = $"reader_{Guid.NewGuid():N}";
        await Database.ExecuteAsync($"CREATE ROLE {name} LOGIN PASSWORD 'p'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}; GRANT USAGE ON SCHEMA own, secret TO {name}; GRANT SELECT ON own.\"Orders\" TO {name}");
        return new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Username = name, Password = "p" }.ConnectionString;
    }

    private sealed class Ghost
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Ether { get; set; }
    }

    /// <summary>As an application sets the search path for its tenant.</summary>
    private sealed class SearchPath(string schema) : DbConnectionInterceptor
    {
        public override async Task ConnectionOpenedAsync(DbConnection connection, ConnectionEndEventData eventData, CancellationToken cancellationToken = default)
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"SET search_path = {schema}";
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
    }
}

/// <summary>Cells that stand where nobody listed them, in tables like a listed one, keep their keys from their end.</summary>
public abstract class UnlistedColumnTests(string provider) : IAsyncLifetime
{
    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync() => Database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Fact]
    public async Task A_table_that_was_renamed_while_another_took_its_name_is_counted()
    {
        static void Former(ModelBuilder model)
        {
            model.Entity<Order>().ToTable("Orders_2025").Property(o => o.Id).ValueGeneratedNever();
            model.UseEnvelopeEncryption();
        }

        await using var a = await CreateAsync();
        await SaveAsync(a, 1);
        await Database.ExecuteAsync("ALTER TABLE \"Orders\" RENAME TO \"Orders_2025\"");
        await Database.ExecuteAsync($"CREATE TABLE \"Orders\" (\"Id\" integer PRIMARY KEY, \"Iban\" {(provider == "SQLite" ? "BLOB" : "bytea")} NOT NULL)");
        a.ChangeTracker.Clear();
        await SaveAsync(a, 2);
        var old = await AssertWithheldAsync(a, 1, "Orders_2025.Iban");
        await using var former = New(Former);
        var report = await new EnvelopeKeys(former).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 2L), (report.Rows, report.Census.Cells));
        Assert.Equal(KeyState.Revoked, (await new EnvelopeKeys(a).RevokeAsync(old)).State);
    }

    [Fact]
    public async Task A_column_that_was_forgotten_is_counted_when_it_is_there_again()
    {
        static void Tickets(ModelBuilder model)
        {
            model.Entity<Ticket>().ToTable("Tickets").Property(t => t.Id).ValueGeneratedNever();
            model.UseEnvelopeEncryption();
        }

        var create = $"CREATE TABLE \"Orders\" (\"Id\" integer PRIMARY KEY, \"Iban\" {(provider == "SQLite" ? "BLOB" : "bytea")} NOT NULL)";
        await using var a = New(Tickets);
        await a.Database.EnsureCreatedAsync();
        a.Add(new Ticket { Id = 1, Code = "a" });
        await a.SaveChangesAsync();
        await Database.ExecuteAsync(create);
        await using var elsewhere = New(Orders, isElsewhere: true);
        await SaveAsync(elsewhere, 1);
        await Database.ExecuteAsync("DROP TABLE \"Orders\"");
        var keys = new EnvelopeKeys(a);
        var missing = Assert.Single(await keys.ListColumnsAsync(), c => !c.IsFound);
        await keys.ForgetColumnAsync(missing.Table, missing.Column);
        Assert.Equal(["Code"], (await keys.ListColumnsAsync()).Select(c => c.Column));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.ForgetColumnAsync(missing.Table, missing.Column));
        Assert.Empty((await keys.TakeCensusAsync()).MissingColumns);

        // The other process still takes it for listed, and does not save again.
        await Database.ExecuteAsync(create);
        await SaveAsync(elsewhere, 2);
        var old = await AssertWithheldAsync(a, 1, "Orders.Iban");
        Assert.Contains(missing with { IsFound = true }, await keys.ListColumnsAsync());
        var report = await new EnvelopeKeys(elsewhere).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);
    }

    /// <summary>Rotates, and moves what the context's own table holds: the rest keeps the key.</summary>
    /// <returns>The key.</returns>
    protected async Task<Guid> AssertWithheldAsync(AdHocContext context, long rows, string place)
    {
        var keys = new EnvelopeKeys(context);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((rows, false, 1L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains(place, report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("1 cell(s)", (await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(old))).Message, StringComparison.Ordinal);
        return old;
    }

    protected async Task<Guid> RotateAsync(EnvelopeKeys keys)
    {
        await keys.RotateAsync(EnvelopeScope.Global);
        Database.Time.Advance(TimeSpan.FromMinutes(22));
        return (await keys.ListAsync()).Single(k => k.State == KeyState.Deactivated).Id;
    }

    protected async Task<AdHocContext> CreateAsync(string? searchPath = null)
    {
        await using var context = New(Orders);
        await context.Database.EnsureCreatedAsync();
        return New(Orders, searchPath);
    }

    protected static void Orders(ModelBuilder model)
    {
        model.Entity<Order>().ToTable("Orders").Property(o => o.Id).ValueGeneratedNever();
        model.UseEnvelopeEncryption();
    }

    protected AdHocContext New(Action<ModelBuilder> model, string? searchPath = null, IInterceptor? interceptor = null, string? connectionString = null, bool isElsewhere = false)
        => new(
            Database.Options(
                isElsewhere ? envelope => envelope.With(o => o with { SealingLease = TimeSpan.FromSeconds(59) }) : null,
                more: builder =>
                {
                    AdHocContext.Cached(builder);
                    builder.AddInterceptors(interceptor is null ? [] : [interceptor]);
                },
                connectionString: connectionString ?? (searchPath is null ? null : new NpgsqlConnectionStringBuilder(Database.ConnectionString) { SearchPath = searchPath }.ConnectionString)),
            model);

    protected static async Task SaveAsync(DbContext context, int id)
    {
        context.Add(new Order { Id = id, Iban = "a" });
        await context.SaveChangesAsync();
    }

    private sealed class Ticket
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Code { get; set; }
    }

    protected sealed class Order
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Iban { get; set; }
    }
}
