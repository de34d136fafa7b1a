using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteUnnamedRowKeyTests() : UnnamedRowKeyTests("SQLite");

public sealed class PostgresUnnamedRowKeyTests() : UnnamedRowKeyTests("PostgreSQL");

/// <summary>
/// Queries that return rows with keys of their own without naming their type: by navigations that are always included, or in a collection class of the application's own. A moved cell is refused, however the query was compiled (G4).
/// </summary>
public abstract class UnnamedRowKeyTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Shop>().Navigation(s => s.Till).AutoInclude();
        model.Entity<Till>().Navigation(t => t.Card).AutoInclude();
        model.Entity<Card>().ToTable("Cards").HasDataKeyPerRow();
        model.Entity<Shop>().HasMany(s => s.Coupons).WithOne().HasForeignKey(c => c.ShopId);
        model.Entity<Coupon>().ToTable("Coupons").HasDataKeyPerRow();
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        foreach (var n in new[] { 1, 2 })
        {
            context.Add(new Shop { Till = new Till { Card = new Card { Number = $"card {n}" } }, Coupons = [new Coupon { Code = $"coupon {n}" }] });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("Cards", "Number", "always included")]
    [InlineData("Cards", "Number", "always included, one by one")]
    [InlineData("Cards", "Number", "always included by the first of two")]
    [InlineData("Coupons", "Code", "included collection")]
    [InlineData("Coupons", "Code", "projected collection")]
    public async Task A_cell_of_another_row_is_refused_in_a_process_without_keys(string table, string column, string shape)
    {
        await using (var context = New())
        {
            Assert.Equal(2, await QueryAsync(context, shape));
        }

        await _database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = (SELECT o.\"{column}\" FROM \"{table}\" o WHERE o.\"Id\" = 2) WHERE \"Id\" = 1");
        await using (var connection = _database.Connect())
        {
            KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }

        await using var reader = New();
        var error = await Record.ExceptionAsync(() => QueryAsync(reader, shape));
        Assert.True(error is EnvelopeRefusedException, error?.ToString() ?? "was returned");
    }

    private static async Task<int> QueryAsync(DbContext context, string shape)
    {
        var shops = context.Set<Shop>().AsNoTracking().OrderBy(s => s.Id);
        switch (shape)
        {
            case "always included":
                return (await shops.ToListAsync()).Count(s => s.Till?.Card?.Number is not null);
            case "always included, one by one":
                var count = 0;
                await foreach (var shop in shops.AsAsyncEnumerable())
                {
                    count += shop.Till?.Card?.Number is null ? 0 : 1;
                }

                return count;
            case "always included by the first of two":
                return (await shops.Select(s => s.Till).ToListAsync()).Count(t => t?.Card?.Number is not null);
            case "included collection":
                return (await shops.Include(s => s.Coupons).ToListAsync()).SelectMany(s => s.Coupons).Count(c => c.Code is not null);
            case "projected collection":
                return (await shops.Select(s => new { s.Id, s.Coupons }).ToListAsync()).SelectMany(s => s.Coupons).Count(c => c.Code is not null);
            default:
                throw new ArgumentOutOfRangeException(nameof(shape), shape, null);
        }
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Shop
    {
        public int Id { get; set; }

        public Till? Till { get; set; }

        public CouponBook Coupons { get; set; } = [];
    }

    private sealed class Till
    {
        public int Id { get; set; }

        public Card? Card { get; set; }
    }

    private sealed class Card
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Number { get; set; }
    }

    private sealed class CouponBook : List<Coupon>;

    private sealed class Coupon
    {
        public int Id { get; set; }

        public int ShopId { get; set; }

        [Encrypted]
        public string? Code { get; set; }
    }
}
