using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteBadColumnTests() : BadColumnTests("SQLite");

public sealed class PostgresBadColumnTests() : BadColumnTests("PostgreSQL");

/// <summary>Columns that hold something else than the model expects, or do not hold what would be written: a typed error that names the column, nothing returned and nothing written.</summary>
public abstract class BadColumnTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(NewCustomer(TenantA, "one"));
        context.Add(NewCustomer(TenantB, "two"));
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(19)]
    [InlineData(54)]
    [InlineData(57)]
    public async Task A_truncated_value_is_refused_and_other_rows_are_read_on(int length)
    {
        var bytes = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" ORDER BY \"Id\""))!;
        Assert.True(bytes.Length > 57);
        await PlantAsync("FullName", Literal(bytes[..length]));
        await AssertRefusedAsync("Customer.FullName");
    }

    [Theory]
    [InlineData("plaintext")]
    [InlineData("zeros")]
    [InlineData("another column's")]
    [InlineData("another tenant's")]
    [InlineData("another database's")]
    [InlineData("a flipped bit")]
    public async Task A_foreign_value_is_refused_and_other_rows_are_read_on(string what)
    {
        var own = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" ORDER BY \"Id\""))!;
        own[^1] ^= 1;
        await PlantAsync("FullName", what switch
        {
            "plaintext" => Literal("canary planted"u8.ToArray()),
            "zeros" => Literal(new byte[80]),
            "another column's" => "\"Ssn\"",
            "another tenant's" => Literal((byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\" ORDER BY \"Id\" DESC"))!),
            "another database's" => Literal(await OfAnotherDatabaseAsync()),
            _ => Literal(own),
        });
        await AssertRefusedAsync(what == "another database's" ? "" : "Customer.FullName");
    }

    [Theory]
    [InlineData("")]
    [InlineData("efe1:")]
    [InlineData("efe1:AAAA")]
    [InlineData("efe1:***")]
    [InlineData("efe2:AAAA")]
    [InlineData("canary planted")]
    public async Task What_is_no_armour_is_refused(string text)
    {
        await PlantAsync("Note", $"'{text}'");
        await AssertRefusedAsync("Customer.Note");
    }

    /// <summary>The row is in nobody's way: it can be mended by writing it anew.</summary>
    [Fact]
    public async Task A_row_with_a_bad_value_can_be_written_over()
    {
        await PlantAsync("FullName", Literal([1, 2, 3]));
        await using (var context = New())
        {
            var id = await context.Customers.Where(c => c.TenantId == TenantA).Select(c => c.Id).SingleAsync();
            var stub = NewCustomer(TenantA, "mended");
            stub.Id = id;
            context.Attach(stub).Property(c => c.FullName).IsModified = true;
            Assert.Equal(1, await context.SaveChangesAsync());
        }

        await using var reader = New();
        Assert.Equal(["mended", "two"], (await reader.Customers.AsNoTracking().ToListAsync()).Select(c => c.FullName).Order());
    }

    /// <summary>Also where SQLite, which knows no length of a column, would store what cannot be opened elsewhere.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_armour_that_is_longer_than_its_column_is_refused_and_nothing_is_written(bool byType)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), byType ? ByType : ByLength);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Slip { Text = "short" });
        Assert.Equal(1, await context.SaveChangesAsync());
        context.Add(new Slip { Text = "canary " + new string('x', 60) });
        var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.SaveChangesAsync());
        Assert.Contains("HasMaxLength", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        Assert.Equal("Text", error.Property);
        Assert.Equal(1, await StoredCells.CountAsync(database, "Slips"));

        static void ByLength(ModelBuilder m)
        {
            m.Entity<Slip>().ToTable("Slips").Property(s => s.Text).IsEncrypted(e => e.IsArmored()).HasMaxLength(100);
            m.UseEnvelopeEncryption();
        }

        static void ByType(ModelBuilder m)
        {
            m.Entity<Slip>().ToTable("Slips").Property(s => s.Text).IsEncrypted(e => e.IsArmored()).HasColumnType("varchar(100)");
            m.UseEnvelopeEncryption();
        }
    }

    /// <summary>A renamed class or property changes the default column id: nothing that is there would open, so nothing more is written under the new one.</summary>
    [Fact]
    public async Task A_column_id_that_changed_silently_is_refused_and_the_way_out_works()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using (var before = new AdHocContext(database.Options(more: AdHocContext.Cached), Before))
        {
            await before.Database.EnsureCreatedAsync();
            before.Add(new Slip { Text = "before" });
            await before.SaveChangesAsync();
        }

        await using (var after = new AdHocContext(database.Options(more: AdHocContext.Cached), After))
        {
            after.Add(new RenamedSlip { Text = "canary" });
            var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => after.SaveChangesAsync());
            Assert.Equal(("RenamedSlip", "Text", "Slip.Text"), (error.Entity, error.Property, error.ColumnId));
            Assert.Contains("[Encrypted(ColumnId = \"Slip.Text\")]", error.Message, StringComparison.Ordinal);
            Assert.Equal(1, await StoredCells.CountAsync(database, "Slips"));
            await Assert.ThrowsAsync<EnvelopeRefusedException>(() => after.Set<RenamedSlip>().AsNoTracking().ToListAsync());
            await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => after.Set<RenamedSlip>().ExecuteUpdateAsync(s => s.SetProperty(x => x.Text, "canary")));
        }

        await using var mended = new AdHocContext(database.Options(more: AdHocContext.Cached), Mended);
        mended.Add(new RenamedSlip { Text = "after" });
        Assert.Equal(1, await mended.SaveChangesAsync());
        Assert.Equal(["after", "before"], (await mended.Set<RenamedSlip>().AsNoTracking().ToListAsync()).Select(s => s.Text).Order());

        static void Before(ModelBuilder m)
        {
            m.Entity<Slip>().ToTable("Slips").Property(s => s.Text).IsEncrypted();
            m.UseEnvelopeEncryption();
        }

        static void After(ModelBuilder m)
        {
            m.Entity<RenamedSlip>().ToTable("Slips").Property(s => s.Text).IsEncrypted();
            m.UseEnvelopeEncryption();
        }

        static void Mended(ModelBuilder m)
        {
            m.Entity<RenamedSlip>().ToTable("Slips").Property(s => s.Text).IsEncrypted(e => e.HasColumnId("Slip.Text"));
            m.UseEnvelopeEncryption();
        }
    }

    /// <param name="columnId">Empty where the key is not known, which is all that the error can name.</param>
    private async Task AssertRefusedAsync(string columnId)
    {
        await using var context = New();
        foreach (var read in new Func<Task>[]
        {
            () => context.Customers.AsNoTracking().ToListAsync(),
            () => context.Customers.Where(c => c.TenantId == TenantA).ToListAsync(),
            () => context.Customers.Where(c => c.TenantId == TenantA).Select(c => new { c.TenantId, c.FullName, c.Note }).ToListAsync(),
        })
        {
            var error = await Assert.ThrowsAnyAsync<EnvelopeEncryptionException>(read);
            if (columnId.Length == 0)
            {
                Assert.NotNull(Assert.IsType<KeyNotFoundInRingException>(error).KeyId);
            }
            else
            {
                Assert.Equal(columnId, Assert.IsType<EnvelopeRefusedException>(error).ColumnId);
                Assert.Contains(columnId, error.Message, StringComparison.Ordinal);
            }

            Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal("two", (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantB)).FullName);
        Assert.Equal(2, await StoredCells.CountAsync(_database, "Customers"));
    }

    private async Task<byte[]> OfAnotherDatabaseAsync()
    {
        await using var other = await TestDatabase.CreateAsync(provider);
        await using var context = new BankContext(other.Options());
        await context.Database.EnsureCreatedAsync();
        context.Add(NewCustomer(TenantA, "one"));
        await context.SaveChangesAsync();
        return (byte[])(await other.ScalarAsync("SELECT \"FullName\" FROM \"Customers\""))!;
    }

    private async Task PlantAsync(string column, string value)
        => Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"{column}\" = {value} WHERE \"Id\" = (SELECT MIN(\"Id\") FROM \"Customers\")"));

    private string Literal(byte[] bytes) => provider == "SQLite" ? $"x'{Convert.ToHexString(bytes)}'" : $"'\\x{Convert.ToHexString(bytes)}'";

    private BankContext New() => new(_database.Options());

    private static Customer NewCustomer(Guid tenant, string name) => new() { TenantId = tenant, FullName = name, Ssn = "s", Note = "note" };

    private sealed class Slip
    {
        public int Id { get; set; }

        public required string Text { get; set; }
    }

    private sealed class RenamedSlip
    {
        public int Id { get; set; }

        public required string Text { get; set; }
    }
}
