using EfEnvelope.Cli;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Census;

public sealed class SqliteRegisteredColumnTests() : RegisteredColumnTests("SQLite");

public sealed class PostgresRegisteredColumnTests() : RegisteredColumnTests("PostgreSQL")
{
    [Fact]
    public async Task Tables_that_the_search_path_tells_apart_are_each_counted()
    {
        static void Model(ModelBuilder model)
        {
            model.Entity<Order>().ToTable("Orders").Property(o => o.Id).ValueGeneratedNever();
            model.UseEnvelopeEncryption(o => o.HasSchema("keys"));
        }

        await Database.ExecuteAsync("CREATE SCHEMA bank_a; CREATE SCHEMA bank_b");
        await using var a = New(Model, "bank_a");
        await using var b = New(Model, "bank_b");
        await a.Database.ExecuteSqlRawAsync(a.Database.GenerateCreateScript());
        await Database.ExecuteAsync("CREATE TABLE bank_b.\"Orders\" (LIKE bank_a.\"Orders\" INCLUDING ALL)");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        await AssertBothMustMoveAsync(a, b, "bank_b.Orders.Iban");
    }

    [Fact]
    public async Task A_table_that_only_the_others_search_path_leads_to_is_counted()
    {
        await using var a = New(Tickets);
        await a.Database.EnsureCreatedAsync();
        await Database.ExecuteAsync("CREATE SCHEMA app_b; CREATE TABLE app_b.\"Orders\" (\"Id\" integer PRIMARY KEY, \"Iban\" bytea NOT NULL)");
        await using var b = New(Orders, "app_b,public");
        await SaveAsync(a, new Ticket { Id = 1, Code = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        await AssertBothMustMoveAsync(a, b, "app_b.Orders.Iban");
    }

    /// <summary>Of two contexts with a row each, neither proves anything before the other has moved its row.</summary>
    private async Task AssertBothMustMoveAsync(AdHocContext a, AdHocContext b, string place)
    {
        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains(place, report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("1 cell(s)", (await Assert.ThrowsAsync<KeyRevokedException>(() => keys.RevokeAsync(old))).Message, StringComparison.Ordinal);

        report = await new EnvelopeKeys(b).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 2L), (report.Rows, report.Census.Cells));
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);
        PassLease();
        b.ChangeTracker.Clear();
        Assert.Equal("b", (await b.Set<Order>().SingleAsync()).Iban);
    }
}

/// <summary>What the ring's table of columns lists is counted where it stands, or named where it is not found.</summary>
public abstract class RegisteredColumnTests(string provider) : IAsyncLifetime
{
    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync() => Database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Fact]
    public async Task A_column_that_is_not_found_withholds_every_proof_until_it_is_forgotten()
    {
        static void Renamed(ModelBuilder model)
        {
            model.Entity<Order>().ToTable("Bookings").Property(o => o.Id).ValueGeneratedNever();
            model.UseEnvelopeEncryption();
        }

        await using (var both = New(m =>
        {
            m.Entity<Ticket>().Property(t => t.Id).ValueGeneratedNever();
            Orders(m);
        }))
        {
            await both.Database.EnsureCreatedAsync();
        }

        await using var a = New(Tickets);
        await SaveAsync(a, new Ticket { Id = 1, Code = "a" });
        await using (var b = New(Orders))
        {
            await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        }

        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        Assert.All(await keys.ListColumnsAsync(), c => Assert.True(c.IsFound));
        await Database.ExecuteAsync("ALTER TABLE \"Orders\" RENAME TO \"Bookings\"");
        var missing = Assert.Single((await keys.TakeCensusAsync()).MissingColumns);
        Assert.Equal((provider == "SQLite" ? "Orders" : "public.Orders", "Iban", false), (missing.Table, missing.Column, missing.IsFound));
        var place = $"{missing.Table}.Iban";
        var report = await keys.ReencryptAsync();
        Assert.Equal((1L, false, 0L), (report.Rows, report.IsProven, report.Census.StaleCells));
        Assert.Contains(place, report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains(place, (await keys.ReportCensusAsync()).NotProvenBecause, StringComparison.Ordinal);
        foreach (var end in new[] { () => keys.RevokeAsync(old), () => keys.DestroyAsync(old) })
        {
            Assert.Contains("columns forget", (await Assert.ThrowsAsync<KeyRevokedException>(end)).Message, StringComparison.Ordinal);
        }

        // The application of the new name registers it; who forgets the former one loses nothing by it.
        await using var renamed = New(Renamed);
        await SaveAsync(renamed, new Order { Id = 2, Iban = "c" });
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("list"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("forget", "--table", missing.Table, "--column", "Code"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("forget", "--table", missing.Table.Replace("Orders", "Bookings", StringComparison.Ordinal), "--column", "Iban"));
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("forget", "--table", missing.Table, "--column", "Iban"));
        Assert.Contains("Bookings.Iban", (await keys.ReencryptAsync()).NotProvenBecause, StringComparison.Ordinal);
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.RevokeAsync(old));

        report = await new EnvelopeKeys(renamed).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(1, report.Rows);
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);

        Task<int> RunAsync(params string[] verb) => EnvelopeCommandLine.RunAsync(["columns", .. verb], () => New(Tickets));
    }

    [Fact]
    public async Task A_column_that_a_version_before_registered_without_its_schema_is_one_with_its_own()
    {
        await using var context = New(Orders);
        await context.Database.EnsureCreatedAsync();
        await SaveAsync(context, new Order { Id = 1, Iban = "a" });
        await Database.ExecuteAsync("UPDATE \"EnvelopeColumns\" SET \"TableName\" = 'Orders'");
        var keys = new EnvelopeKeys(context);
        await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 1L), (report.Rows, report.Census.Cells));
        await Database.ExecuteAsync("UPDATE \"EnvelopeColumns\" SET \"ColumnId\" = 'Order.Other'");
        await using var cold = New(Orders);
        await keys.RotateAsync(EnvelopeScope.Global);
        Assert.Contains("Order.Other", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => SaveAsync(cold, new Order { Id = 2, Iban = "b" }))).Message, StringComparison.Ordinal);
    }

    protected static void Orders(ModelBuilder model)
    {
        model.Entity<Order>().ToTable("Orders").Property(o => o.Id).ValueGeneratedNever();
        model.UseEnvelopeEncryption();
    }

    protected static void Tickets(ModelBuilder model)
    {
        model.Entity<Ticket>().Property(t => t.Id).ValueGeneratedNever();
        model.UseEnvelopeEncryption();
    }

    protected AdHocContext New(Action<ModelBuilder> model, string? searchPath = null)
        => new(Database.Options(more: AdHocContext.Cached, connectionString: searchPath is null ? null : new NpgsqlConnectionStringBuilder(Database.ConnectionString) { SearchPath = searchPath }.ConnectionString), model);

    protected static async Task SaveAsync(DbContext context, object row)
    {
        context.Add(row);
        await context.SaveChangesAsync();
    }

    /// <summary>Rotates the global key, lets every lease end, and gives the former key's id.</summary>
    protected async Task<Guid> RotateAsync(EnvelopeKeys keys)
    {
        await keys.RotateAsync(EnvelopeScope.Global);
        PassLease();
        return (await keys.ListAsync()).Single(k => k.State == KeyState.Deactivated).Id;
    }

    protected void PassLease() => Database.Time.Advance(TimeSpan.FromMinutes(22));

    protected sealed class Order
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Iban { get; set; }
    }

    protected sealed class Ticket
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Code { get; set; }
    }
}
