using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class ProtectorTests : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.NewGuid();

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task What_it_seals_EF_reads_and_what_EF_writes_it_opens()
    {
        await using var context = New();
        context.Add(new Customer { TenantId = Tenant, FullName = "by EF", Ssn = "1" });
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var cell = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\""))!;
        Assert.Equal("by EF", await protector.OpenAsync((Customer c) => c.FullName, cell, EnvelopeScope.Tenant(Tenant)));

        var envelope = await protector.SealAsync((Customer c) => c.FullName, "by hand", EnvelopeScope.Tenant(Tenant));
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"FullName\" = x'{Convert.ToHexString(envelope)}'");
        Assert.Equal("by hand", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal(envelope, EnvelopeProtector.Disarm(EnvelopeProtector.Arm(envelope)));
    }

    [Fact]
    public async Task Another_scope_column_or_kind_is_refused()
    {
        await using var context = New();
        var protector = new EnvelopeProtector(context);
        var envelope = await protector.SealAsync((Customer c) => c.FullName, "x", EnvelopeScope.Tenant(Tenant));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, envelope, EnvelopeScope.Tenant(Guid.NewGuid())));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.Ssn, envelope));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((Customer c) => c.FullName, "x", EnvelopeScope.Global));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((Customer c) => c.Branch, "x", EnvelopeScope.Tenant(Tenant)));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, [1, 2, 3]));
    }

    [Fact]
    public async Task A_property_is_found_by_its_whole_path()
    {
        await using var context = New();
        var saved = new Customer { TenantId = Tenant, FullName = "name", Ssn = "1", Home = new Address { City = "c", Street = "street" }, Contact = new Contact { Kind = "k", Phone = "phone" } };
        context.Add(saved);
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var scope = EnvelopeScope.Tenant(Tenant);
        Assert.Equal("street", await protector.OpenAsync((Customer c) => c.Home.Street, await CellAsync("Home_Street"), scope));
        Assert.Equal("phone", await protector.OpenAsync((Customer c) => c.Contact.Phone, await CellAsync("Contact_Phone"), scope));

        var street = await protector.SealAsync((Customer c) => c.Home.Street!, "by hand", scope);
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"Home_Street\" = x'{Convert.ToHexString(street)}'");
        Assert.Equal("by hand", (await context.Customers.AsNoTracking().SingleAsync()).Home.Street);

        // The last name alone would be another column: a property of the entity, reached through somebody else.
        foreach (var wrong in new Func<Task>[]
        {
            () => protector.SealAsync((Account a) => a.Customer!.FullName, "x", scope),
            () => protector.SealAsync((Customer c) => c.FullName.Length, 1, scope),
            () => protector.SealAsync((Customer c) => saved.FullName, "x", scope),
            () => protector.SealAsync((Customer c) => c.Home.City, "x", scope),
            () => protector.SealAsync((Customer c) => c.Devices[0].Serial!, "x", scope),
        })
        {
            await Assert.ThrowsAsync<EnvelopeConfigurationException>(wrong);
        }
    }

    [Fact]
    public async Task A_value_goes_through_the_propertys_own_conversion()
    {
        await using var context = new AdHocContext(_database.Options(more: AdHocContext.Cached), m =>
        {
            m.Entity<Rating>(rating =>
            {
                rating.ToTable("Ratings").HasKey(r => r.Level);
                rating.Property(r => r.Written).HasConversion(day => "day " + day, text => Enum.Parse<DayOfWeek>(text.Substring(4)));
                rating.Property(r => r.Bound).HasConversion<string>().IsEncrypted(e => e.IsRowBound().IsArmored());
                rating.Property(r => r.Level).ValueGeneratedNever();
            });
            m.UseEnvelopeEncryption();
        });
        await context.Database.ExecuteSqlRawAsync(context.Database.GenerateCreateScript().Split(';').Single(s => s.Contains("CREATE TABLE \"Ratings\"", StringComparison.Ordinal)));
        context.Add(new Rating { Level = 1, Written = DayOfWeek.Friday, Bound = DayOfWeek.Friday });
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var row = new EnvelopeRow { PrimaryKey = [1] };
        var written = await protector.SealAsync((Rating r) => r.Written, DayOfWeek.Monday, EnvelopeScope.Global);
        var bound = await protector.SealAsync((Rating r) => r.Bound, DayOfWeek.Monday, EnvelopeScope.Global, row);
        await _database.ExecuteAsync($"UPDATE \"Ratings\" SET \"Written\" = x'{Convert.ToHexString(written)}', \"Bound\" = '{EnvelopeProtector.Arm(bound)}'");
        var read = await context.Set<Rating>().AsNoTracking().SingleAsync();
        Assert.Equal((DayOfWeek.Monday, DayOfWeek.Monday), (read.Written, read.Bound));
        Assert.Equal(DayOfWeek.Monday, await protector.OpenAsync((Rating r) => r.Written, written));
        Assert.Equal(DayOfWeek.Monday, await protector.OpenAsync((Rating r) => r.Bound, bound, row: row));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Rating r) => r.Bound, bound, row: new EnvelopeRow { PrimaryKey = [2] }));
    }

    [Fact]
    public async Task Rows_with_keys_of_their_own_are_served_by_their_row_id()
    {
        await using var context = New();
        PaymentCard one = new() { TenantId = Tenant, Number = "one" }, two = new() { TenantId = Tenant, Number = "two" };
        context.AddRange(one, two);
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var scope = EnvelopeScope.Tenant(Tenant);
        var row = new EnvelopeRow { RowId = context.Entry(one).Property<Guid>("EnvelopeRowId").CurrentValue };
        var other = new EnvelopeRow { RowId = context.Entry(two).Property<Guid>("EnvelopeRowId").CurrentValue };
        var cell = (byte[])(await _database.ScalarAsync($"SELECT \"Number\" FROM \"Cards\" WHERE \"Id\" = {one.Id}"))!;
        Assert.Equal("one", await protector.OpenAsync((PaymentCard c) => c.Number, cell, scope, row));
        Assert.Equal("one", await protector.OpenAsync((PaymentCard c) => c.Number, cell, row: row));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((PaymentCard c) => c.Number, cell, scope, other));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((PaymentCard c) => c.Number, cell, EnvelopeScope.Tenant(Guid.NewGuid()), row));

        var sealedByHand = await protector.SealAsync((PaymentCard c) => c.Number, "by hand", scope, row);
        await _database.ExecuteAsync($"UPDATE \"Cards\" SET \"Number\" = x'{Convert.ToHexString(sealedByHand)}' WHERE \"Id\" = {one.Id}");
        Assert.Equal(["by hand", "two"], (await context.Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number).Order(StringComparer.Ordinal));

        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((PaymentCard c) => c.Number, "x", scope));
        Assert.Contains("EnvelopeRow.RowId", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.OpenAsync((PaymentCard c) => c.Number, cell, scope));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => protector.SealAsync((PaymentCard c) => c.Number, "x", scope, new EnvelopeRow { RowId = Guid.NewGuid() }));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => protector.SealAsync((PaymentCard c) => c.Number, "x", EnvelopeScope.Tenant(Guid.NewGuid()), row));
    }

    [Fact]
    public async Task Row_bound_columns_are_served_by_their_primary_key()
    {
        await using var context = New();
        context.Add(new Ledger { Code = "a|b%", Year = 2020, Balance = 1.5m });
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var row = new EnvelopeRow { PrimaryKey = ["a|b%", 2020] };
        var cell = (byte[])(await _database.ScalarAsync("SELECT \"Balance\" FROM \"Ledgers\""))!;
        Assert.Equal(1.5m, await protector.OpenAsync((Ledger l) => l.Balance, cell, EnvelopeScope.Global, row));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Ledger l) => l.Balance, cell, row: new EnvelopeRow { PrimaryKey = ["a|b%", 2021] }));

        var envelope = await protector.SealAsync((Ledger l) => l.Balance, 2.5m, EnvelopeScope.Global, row);
        await _database.ExecuteAsync($"UPDATE \"Ledgers\" SET \"Balance\" = x'{Convert.ToHexString(envelope)}'");
        Assert.Equal(2.5m, (await context.Ledgers.AsNoTracking().SingleAsync()).Balance);
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((Ledger l) => l.Balance, 1m, EnvelopeScope.Global, new EnvelopeRow { PrimaryKey = ["a|b%"] }));
        Assert.Contains("Code, Year", error.Message, StringComparison.Ordinal);
    }

    /// <summary>What it makes inside a transaction that rolls back is forgotten with it, as the context's own keys are.</summary>
    [Fact]
    public async Task A_key_that_it_made_in_a_transaction_that_was_rolled_back_is_not_used_again()
    {
        var scope = EnvelopeScope.Tenant(Guid.NewGuid());
        await using var context = New();
        var protector = new EnvelopeProtector(context);
        byte[] gone;
        await using (await context.Database.BeginTransactionAsync())
        {
            gone = await protector.SealAsync((Customer c) => c.FullName, "gone", scope);
            Assert.Equal("gone", await protector.OpenAsync((Customer c) => c.FullName, gone, scope));
        }

        var kept = await protector.SealAsync((Customer c) => c.FullName, "kept", scope);
        Assert.NotEqual(gone[4..20], kept[4..20]);
        await using var other = New();
        Assert.Equal("kept", await new EnvelopeProtector(other).OpenAsync((Customer c) => c.FullName, kept, scope));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => protector.OpenAsync((Customer c) => c.FullName, gone, scope));
    }

    private async Task<byte[]> CellAsync(string column) => (byte[])(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"Customers\""))!;

    private BankContext New() => new(_database.Options());

    private sealed class Rating
    {
        public int Level { get; set; }

        [Encrypted]
        public DayOfWeek Written { get; set; }

        public DayOfWeek Bound { get; set; }
    }
}
