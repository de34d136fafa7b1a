using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteColumnOrderTests() : ColumnOrderTests("SQLite");

public sealed class PostgresColumnOrderTests() : ColumnOrderTests("PostgreSQL");

/// <summary>Results whose columns stand in another order than EF's own, or under other names: each cell is compared with its own row's tenant all the same.</summary>
public abstract class ColumnOrderTests(string provider) : IAsyncLifetime
{
    /// <summary>63 characters, the most that PostgreSQL keeps: a second column of that name in one result gets a name that it cuts.</summary>
    private static readonly string LongName = "Secret" + new string('x', 57);

    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Row>(row =>
        {
            row.ToTable("Rows").HasDataKeyPerTenant(r => r.Tenant);
            row.Property(r => r.Long).HasColumnName(LongName);
        });
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
            context.Add(new Row { Tenant = Guid.NewGuid(), Ssn = $"ssn {n}", Name = $"name {n}", Long = $"long {n}", Number = n });
        }

        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("\"Id\", \"Tenant\", \"{0}\", \"Name\", \"Number\", \"Ssn\"")]
    [InlineData("\"Ssn\", \"Number\", \"Name\", \"Tenant\", \"{0}\", \"Id\"")]
    [InlineData("\"Id\", \"{0}\", \"Tenant\", \"Number\", \"Ssn\", \"Name\"")]
    [InlineData("'more' AS \"More\", \"Id\", \"Tenant\", \"Name\", \"Number\", \"Ssn\", \"{0}\"")]
    public async Task Raw_SQL_returns_its_columns_in_any_order(string columns)
    {
        var sql = $"SELECT {string.Format(System.Globalization.CultureInfo.InvariantCulture, columns, LongName)} FROM \"Rows\"";
        await using (var context = New())
        {
            Assert.Equal(["ssn 1", "ssn 2"], (await context.Set<Row>().FromSqlRaw(sql).ToListAsync()).Select(r => r.Ssn).Order(StringComparer.Ordinal));
            Assert.Equal(["long 2"], await context.Set<Row>().FromSqlRaw(sql).Where(r => r.Number == 2).Select(r => r.Long).ToListAsync());
        }

        await _database.ExecuteAsync("UPDATE \"Rows\" SET \"Ssn\" = (SELECT o.\"Ssn\" FROM \"Rows\" o WHERE o.\"Number\" = 1)");
        await using var reader = New();
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Set<Row>().FromSqlRaw(sql).AsNoTracking().ToListAsync());
    }

    [Fact]
    public async Task A_column_name_that_the_database_cuts()
    {
        async Task<List<(string?, string?)>> QueryAsync()
        {
            await using (var connection = _database.Connect())
            {
                KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
            }

            await using var context = New();
            var rows = context.Set<Row>().AsNoTracking();
            return [.. (await rows.Join(rows, r => r.Number, o => 3 - o.Number, (r, o) => new { r, o }).OrderBy(x => x.r.Number).ToListAsync()).Select(x => (x.r.Long, x.o.Long))];
        }

        Assert.Equal([("long 1", "long 2"), ("long 2", "long 1")], await QueryAsync());
        await _database.ExecuteAsync($"UPDATE \"Rows\" SET \"{LongName}\" = (SELECT o.\"{LongName}\" FROM \"Rows\" o WHERE o.\"Number\" = 1)");
        await Assert.ThrowsAsync<EnvelopeRefusedException>(QueryAsync);
    }

    private AdHocContext New() => new(_database.Options(more: AdHocContext.Cached), Model);

    private sealed class Row
    {
        public int Id { get; set; }

        public Guid Tenant { get; set; }

        [Encrypted]
        public string? Ssn { get; set; }

        public string? Name { get; set; }

        public int Number { get; set; }

        [Encrypted]
        public string? Long { get; set; }
    }
}
