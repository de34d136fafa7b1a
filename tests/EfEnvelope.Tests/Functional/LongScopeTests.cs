using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteLongScopeTests() : LongScopeTests("SQLite");

public sealed class PostgresLongScopeTests() : LongScopeTests("PostgreSQL");

/// <summary>Tenants and subjects whose values make no scope: refused by the property's name, before a key is made for them.</summary>
public abstract class LongScopeTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("tenant", 1024 - 7)]
    [InlineData("subject", 1024 - 14)]
    [InlineData("row", 1024 - 7 - 41)]
    public async Task The_longest_value_is_served_and_a_longer_one_refused_by_name(string kind, int longest)
    {
        Action<ModelBuilder> model = kind switch { "tenant" => Tenants, "subject" => Subjects, _ => Rows };
        await using (var context = New(model))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Firm { Tenant = new string('t', longest), Secret = "canary" });
            await context.SaveChangesAsync();
        }

        var keys = await KeysAsync();
        foreach (var value in new[] { new string('t', longest + 1), new string('t', 5000), "\ud800" })
        {
            await using var context = New(model);
            context.Add(new Firm { Tenant = value, Secret = "canary" });
            var error = await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
            Assert.Equal(("Firm", "Tenant"), (error.Entity, error.Property));
            Assert.Contains("Nothing was written", error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("tttt", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(keys, await KeysAsync());
        await using var reader = New(model);
        Assert.Equal("canary", (await reader.Set<Firm>().AsNoTracking().SingleAsync()).Secret);
    }

    private static void Tenants(ModelBuilder m)
    {
        m.Entity<Firm>().HasDataKeyPerTenant(f => f.Tenant);
        m.UseEnvelopeEncryption();
    }

    private static void Subjects(ModelBuilder m)
    {
        m.Entity<Firm>().HasDataKeyPerSubject("firms", f => f.Tenant);
        m.UseEnvelopeEncryption();
    }

    private static void Rows(ModelBuilder m)
    {
        m.Entity<Firm>().HasDataKeyPerTenant(f => f.Tenant).HasDataKeyPerRow();
        m.UseEnvelopeEncryption();
    }

    private async Task<long> KeysAsync() => await StoredCells.CountAsync(_database, "EnvelopeKeys");

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private sealed class Firm
    {
        public int Id { get; set; }

        public string Tenant { get; set; } = "";

        [Encrypted]
        public string? Secret { get; set; }
    }
}
