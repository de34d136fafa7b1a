using EfEnvelope.Cli;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Census;

public sealed class SqliteRegisteredColumnTests() : RegisteredColumnTests("SQLite")
{
    [Fact]
    public async Task A_column_of_bytes_that_holds_armour_is_counted_by_its_keys()
    {
        await CreateBothAsync();
        await using var context = New(Orders);
        await SaveAsync(context, new Order { Id = 1, Iban = "a" });
        var cell = (byte[])(await Database.ScalarAsync("SELECT \"Iban\" FROM \"Orders\""))!;
        await Database.ExecuteAsync($"UPDATE \"Orders\" SET \"Iban\" = '{EnvelopeProtector.Arm(cell)}'");
        var keys = new EnvelopeKeys(context);
        var old = await RotateAsync(keys);
        Assert.Equal(1, (await keys.TakeCensusAsync()).CountOf(old));
        Assert.Contains("1 cell(s)", (await keys.ReportCensusAsync()).NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_column_that_a_model_spells_in_another_case_is_there_and_counted_once()
    {
        static void Shouted(ModelBuilder model)
        {
            model.Entity<Order>(order =>
            {
                order.ToTable("ORDERS").Property(o => o.Id).ValueGeneratedNever();
                order.Property(o => o.Iban).HasColumnName("IBAN");
            });
            model.UseEnvelopeEncryption();
        }

        await CreateBothAsync();
        await using var a = New(Tickets);
        await using var shouted = New(Shouted);
        await using var spelled = New(Orders);
        await SaveAsync(a, new Ticket { Id = 1, Code = "a" });
        await SaveAsync(shouted, new Order { Id = 1, Iban = "b" });
        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Empty(report.Census.MissingColumns);
        Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains("ORDERS.Iban", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("census counts it", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.ForgetColumnAsync("ORDERS", "IBAN"))).Message, StringComparison.Ordinal);

        // Registered in both ways, or declared in the other one, it is one column.
        await SaveAsync(spelled, new Order { Id = 2, Iban = "c" });
        foreach (var context in new[] { a, spelled, shouted })
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).TakeCensusAsync()).CountOf(old));
        }

        report = await new EnvelopeKeys(shouted).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 3L), (report.Rows, report.Census.Cells));
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

        await CreateBothAsync();
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
            Assert.Contains("columns forget", (await Assert.ThrowsAsync<KeyInUseException>(end)).Message, StringComparison.Ordinal);
        }

        // The application of the new name registers it; who forgets the former one loses nothing by it.
        await using var renamed = New(Renamed);
        await SaveAsync(renamed, new Order { Id = 2, Iban = "c" });
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("list"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("forget", "--table", missing.Table, "--column", "Code"));
        Assert.Equal(EnvelopeCommandLine.BadInput, await RunAsync("forget", "--table", missing.Table.Replace("Orders", "Bookings", StringComparison.Ordinal), "--column", "Iban"));
        Assert.Equal(EnvelopeCommandLine.Proven, await RunAsync("forget", "--table", missing.Table, "--column", "Iban"));
        Assert.Contains("Bookings.Iban", (await keys.ReencryptAsync()).NotProvenBecause, StringComparison.Ordinal);
        await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(old));

        report = await new EnvelopeKeys(renamed).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(1, report.Rows);
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);

        Task<int> RunAsync(params string[] verb) => EnvelopeCommandLine.RunAsync(["columns", .. verb], () => New(Tickets));
    }

    [Fact]
    public async Task What_the_protector_alone_sealed_is_counted_by_every_other_context()
    {
        await CreateBothAsync();
        await using var a = New(Tickets);
        await using var loader = New(Orders);
        await SaveAsync(a, new Ticket { Id = 1, Code = "a" });
        var cell = await new EnvelopeProtector(loader).SealAsync((Order o) => o.Iban, "b", EnvelopeScope.Global);
        await Database.ExecuteAsync($"INSERT INTO \"Orders\" (\"Id\", \"Iban\") VALUES (1, {(provider == "SQLite" ? $"x'{Convert.ToHexString(cell)}'" : $"'\\x{Convert.ToHexString(cell)}'::bytea")})");
        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains("Orders.Iban", report.NotProvenBecause, StringComparison.Ordinal);

        await Database.ExecuteAsync("UPDATE \"EnvelopeColumns\" SET \"ColumnId\" = 'Order.Other' WHERE \"ColumnName\" = 'Iban'");
        await using var cold = New(Orders);
        await keys.RotateAsync(EnvelopeScope.Global);
        PassLease();
        var changed = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeProtector(cold).SealAsync((Order o) => o.Iban, "c", EnvelopeScope.Global));
        Assert.Contains("Order.Other", changed.Message, StringComparison.Ordinal);
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
        Assert.Equal([new(provider == "SQLite" ? "Orders" : "public.Orders", "Iban", true)], await keys.ListColumnsAsync());
        await Database.ExecuteAsync("UPDATE \"EnvelopeColumns\" SET \"ColumnId\" = 'Order.Other'");
        await using var cold = New(Orders);
        await keys.RotateAsync(EnvelopeScope.Global);
        Assert.Contains("Order.Other", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => SaveAsync(cold, new Order { Id = 2, Iban = "b" }))).Message, StringComparison.Ordinal);
    }

    protected async Task CreateBothAsync()
    {
        await using var both = New(m =>
        {
            m.Entity<Ticket>().Property(t => t.Id).ValueGeneratedNever();
            Orders(m);
        });
        await both.Database.EnsureCreatedAsync();
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

    protected AdHocContext New(Action<ModelBuilder> model, string? searchPath = null, string? connectionString = null)
        => new(Database.Options(more: AdHocContext.Cached, connectionString: searchPath is null ? connectionString : new NpgsqlConnectionStringBuilder(Database.ConnectionString) { SearchPath = searchPath }.ConnectionString), model);

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
