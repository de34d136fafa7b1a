using EfEnvelope.Cli;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Census;

public sealed class PostgresRegisteredColumnTests() : RegisteredColumnTests("PostgreSQL")
{
    [Fact]
    public async Task Tables_that_the_search_path_tells_apart_are_each_counted()
    {
        await using var a = await CreateBankAsync();
        await using var b = New(Bank, "bank_b");
        await AddBankAsync("bank_b");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        await AssertBothMustMoveAsync(a, b, "bank_b.Orders.Iban");
    }

    [Theory]
    [InlineData("bank_b", false)]
    [InlineData("bank_b,public", true)]
    public async Task A_table_is_listed_where_the_transaction_that_saves_has_just_made_it(string searchPath, bool isBefore)
    {
        await using var a = await CreateBankAsync();
        await using var b = New(Bank, searchPath);
        if (isBefore)
        {
            await AddBankAsync("public");
        }

        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await using (var transaction = await b.Database.BeginTransactionAsync())
        {
            await b.Database.ExecuteSqlRawAsync(AddBank("bank_b"));
            await SaveAsync(b, new Order { Id = 1, Iban = "b" });
            await transaction.CommitAsync();
        }

        await AssertBothMustMoveAsync(a, b, "bank_b.Orders.Iban");
    }

    [Fact]
    public async Task A_table_that_was_rolled_back_is_looked_for_again()
    {
        await using var a = await CreateBankAsync();
        await using var b = New(Bank, "bank_b,public");
        await AddBankAsync("public");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await using (await b.Database.BeginTransactionAsync())
        {
            await b.Database.ExecuteSqlRawAsync(AddBank("bank_b"));
            await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        }

        b.ChangeTracker.Clear();
        await SaveAsync(b, new Order { Id = 2, Iban = "c" });
        Assert.Equal(
            [("bank_a.Orders", true), ("bank_b.Orders", false), ("public.Orders", true)],
            (await new EnvelopeKeys(a).ListColumnsAsync()).Select(c => (c.Table, c.IsFound)));
    }

    [Fact]
    public async Task A_name_without_a_schema_that_a_version_before_registered_withholds_every_proof_where_several_tables_have_it()
    {
        await using var a = await CreateBankAsync();
        await using var b = New(Bank, "bank_b");
        await AddBankAsync("bank_b");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        await Database.ExecuteAsync("DELETE FROM keys.\"EnvelopeColumns\" WHERE \"TableName\" = 'bank_b.Orders'; UPDATE keys.\"EnvelopeColumns\" SET \"TableName\" = 'Orders', \"ColumnId\" = 'Order.Other'");
        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((1L, false), (report.Rows, report.IsProven));
        Assert.Contains("bank_b.Orders.Iban", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Equal([new("Orders", "Iban", false)], (await keys.TakeCensusAsync()).MissingColumns);

        // Whose it was nobody knows: it refuses nobody.
        await SaveAsync(b, new Order { Id = 2, Iban = "b" });
        Assert.Contains("bank_b.Orders.Iban", (await keys.ReencryptAsync()).NotProvenBecause, StringComparison.Ordinal);
        await keys.ForgetColumnAsync("Orders", "Iban");
        report = await new EnvelopeKeys(b).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 0L), (report.Rows, report.Census.CountOf(old)));
    }

    [Fact]
    public async Task A_role_that_may_read_its_own_schema_alone_moves_its_rows_and_proves_nothing()
    {
        await using var a = await CreateBankAsync();
        await AddBankAsync("bank_b");
        await using var b = New(Bank, "bank_b");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        var old = await RotateAsync(new EnvelopeKeys(a));
        var role = $"bank_a_{Guid.NewGuid():N}";
        await Database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA keys, bank_a TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA keys, bank_a TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA keys TO {role}");
        await using var own = New(Bank, connectionString: new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Username = role, Password = "p", SearchPath = "bank_a" }.ConnectionString);
        var report = await new EnvelopeKeys(own).ReencryptAsync();
        Assert.Equal((1L, false, 0L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains("may not read all of 1 table(s) that other contexts over the ring declare: bank_b.Orders", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("bank_b.Orders", (await Assert.ThrowsAsync<KeyInUseException>(() => new EnvelopeKeys(own).RevokeAsync(old))).Message, StringComparison.Ordinal);
        await AssertProvenAsync(b, 1);
        await AssertProvenAsync(a, 0);
    }

    [Fact]
    public async Task Jobs_of_two_schemas_over_one_ring_are_each_their_own()
    {
        await using var a = await CreateBankAsync();
        await AddBankAsync("bank_b");
        await using var b = New(Bank, "bank_b");
        for (var id = 1; id <= 20; id++)
        {
            await SaveAsync(a, new Order { Id = id, Iban = "a" });
            await SaveAsync(b, new Order { Id = id, Iban = "b" });
        }

        await RotateAsync(new EnvelopeKeys(a));
        var passes = 0;
        ReencryptionReport? beside = null;
        var report = await new EnvelopeKeys(a).ReencryptAsync(new ReencryptionOptions { DegreeOfParallelism = 1, FaultPoint = BesideAsync });
        Assert.Equal((20L, 20L, 1), (report.Rows, beside?.Rows, passes));
        await AssertProvenAsync(a, 0);

        // The other bank's job runs from its beginning to its end when this one's units are recorded, and none is claimed.
        async ValueTask BesideAsync(JobStep step)
        {
            if (step == JobStep.Planned && ++passes == 1)
            {
                beside = await new EnvelopeKeys(b).ReencryptAsync(new ReencryptionOptions { DegreeOfParallelism = 1 });
            }
        }
    }

    [Fact]
    public async Task Quarantined_cells_of_two_schemas_with_one_primary_key_are_two()
    {
        await using var a = await CreateBankAsync();
        await AddBankAsync("bank_b");
        await using var b = New(Bank, "bank_b");
        await SaveAsync(a, new Order { Id = 1, Iban = "a" });
        await SaveAsync(b, new Order { Id = 1, Iban = "b" });
        await RotateAsync(new EnvelopeKeys(a));
        await Database.ExecuteAsync("UPDATE bank_a.\"Orders\" SET \"Iban\" = set_byte(\"Iban\", length(\"Iban\") - 1, get_byte(\"Iban\", length(\"Iban\") - 1) # 1)");
        Assert.Equal((0L, 1L), await RunAsync(a));
        Assert.Equal((1L, 0L), await RunAsync(b));
        Assert.Equal("bank_a.Orders", Assert.Single(await new EnvelopeKeys(b).ListQuarantineAsync()).Table);
        Assert.Single((await new EnvelopeKeys(b).RetryQuarantineAsync()).Kept);
        Assert.Single(await new EnvelopeKeys(a).ListQuarantineAsync());

        static async Task<(long Rows, long Quarantined)> RunAsync(DbContext bank)
        {
            var report = await new EnvelopeKeys(bank).ReencryptAsync();
            return (report.Rows, report.Quarantined);
        }
    }

    private static async Task AssertProvenAsync(DbContext bank, long rows)
    {
        var report = await new EnvelopeKeys(bank).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(rows, report.Rows);
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

    private static void Bank(ModelBuilder model)
    {
        model.Entity<Order>().ToTable("Orders").Property(o => o.Id).ValueGeneratedNever();
        model.UseEnvelopeEncryption(o => o.HasSchema("keys"));
    }

    /// <summary>A bank's context over a schema of its own, with the ring that all banks share, and an empty schema for another.</summary>
    private async Task<AdHocContext> CreateBankAsync()
    {
        await Database.ExecuteAsync("CREATE SCHEMA bank_a; CREATE SCHEMA bank_b");
        var bank = New(Bank, "bank_a");
        await bank.Database.ExecuteSqlRawAsync(bank.Database.GenerateCreateScript());
        return bank;
    }

    private Task AddBankAsync(string schema) => Database.ExecuteAsync(AddBank(schema));

    private static string AddBank(string schema) => $"CREATE TABLE {schema}.\"Orders\" (LIKE bank_a.\"Orders\" INCLUDING ALL)";

    /// <summary>Of two contexts with a row each, neither proves anything before the other has moved its row.</summary>
    private async Task AssertBothMustMoveAsync(AdHocContext a, AdHocContext b, string place)
    {
        var keys = new EnvelopeKeys(a);
        var old = await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((1L, false, 1L), (report.Rows, report.IsProven, report.Census.CountOf(old)));
        Assert.Contains(place, report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("1 cell(s)", (await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(old))).Message, StringComparison.Ordinal);

        report = await new EnvelopeKeys(b).ReencryptAsync();
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((1L, 2L), (report.Rows, report.Census.Cells));
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);
        PassLease();
        b.ChangeTracker.Clear();
        Assert.Equal("b", (await b.Set<Order>().SingleAsync()).Iban);
    }
}
