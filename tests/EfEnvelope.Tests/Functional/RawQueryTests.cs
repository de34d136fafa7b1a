using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteRawQueryTests() : RawQueryTests("SQLite");

public sealed class PostgresRawQueryTests() : RawQueryTests("PostgreSQL");

/// <summary><c>SqlQuery</c> into types that the model does not map.</summary>
public abstract class RawQueryTests(string provider) : OwnerTests(provider)
{
    [Fact]
    public async Task A_type_that_is_not_mapped_cannot_say_whose_its_encrypted_columns_are()
    {
        await SaveAsync(TenantA, "a", chips: 0);
        await using var context = New();
        for (var attempt = 0; attempt < 2; attempt++)
        {
            var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.Database.SqlQuery<OwnerRow>($"SELECT \"Name\", \"Code\" FROM \"Owners\"").ToListAsync());
            Assert.Equal((nameof(OwnerRow), "Name"), (error.Entity, error.Property));
            Assert.Contains("SqlQuery", error.Message, StringComparison.Ordinal);
            Assert.Contains("FromSql", error.Message, StringComparison.Ordinal);
            Assert.Contains("EnvelopeProtector", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>The ways out that the error names.</summary>
    [Fact]
    public async Task The_entitys_own_rows_by_SQL_and_raw_envelopes_are_served()
    {
        await SaveAsync(TenantA, "a", chips: 0);
        await using var context = New();
        Assert.Equal("canary a", (await context.Owners.FromSql($"SELECT * FROM \"Owners\"").Select(o => new { o.Code, o.Name }).SingleAsync()).Name);
        var raw = await context.Database.SqlQuery<RawRow>($"SELECT \"Name\", \"Code\" FROM \"Owners\"").SingleAsync();
        Assert.Equal("canary a", await new EnvelopeProtector(context).OpenAsync<Owner, string>(o => o.Name, raw.Name, EnvelopeScope.Tenant(TenantA)));
    }

    public sealed class OwnerRow
    {
        public string Code { get; set; } = "";

        [Encrypted]
        public string Name { get; set; } = "";
    }

    public sealed class RawRow
    {
        public string Code { get; set; } = "";

        public byte[] Name { get; set; } = [];
    }
}
