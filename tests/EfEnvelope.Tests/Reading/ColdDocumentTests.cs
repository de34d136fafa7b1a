using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteColdDocumentTests() : ColdDocumentTests("SQLite");

public sealed class PostgresColdDocumentTests() : ColdDocumentTests("PostgreSQL");

/// <summary>A process that has no key yet, and reads an entity whose only encrypted values stand in a JSON document.</summary>
public abstract class ColdDocumentTests(string provider)
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Paper>(paper =>
        {
            paper.HasDataKeyPerTenant(p => p.TenantId);
            paper.OwnsOne(p => p.Detail, detail => detail.ToJson());
        });
        model.UseEnvelopeEncryption();
    };

    [Fact]
    public async Task The_keys_of_a_document_are_awaited_by_the_query_that_returns_it()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using (var context = New(database))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(new Paper { TenantId = 1, Detail = new Detail { Secret = "one" } }, new Paper { TenantId = 2, Detail = new Detail { Secret = "two" } });
            await context.SaveChangesAsync();
        }

        await ColdAsync(database);
        await using (var context = New(database))
        {
            Assert.Equal(["one", "two"], (await context.Set<Paper>().OrderBy(p => p.Id).ToListAsync()).Select(p => p.Detail.Secret));
        }

        await ColdAsync(database);
        await using (var context = New(database))
        {
            Assert.Equal("two", (await context.Set<Paper>().AsNoTracking().SingleAsync(p => p.TenantId == 2)).Detail.Secret);
        }

        await ColdAsync(database);
        await using (var context = New(database))
        {
            Assert.Equal(["one", "two"], await context.Set<Paper>().OrderBy(p => p.Id).Select(p => p.Detail).AsNoTracking().Select(d => d.Secret).ToListAsync());
        }
    }

    [Fact]
    public async Task A_document_that_was_moved_to_another_tenants_row_is_refused()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = New(database);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(new Paper { TenantId = 1, Detail = new Detail { Secret = "one" } }, new Paper { TenantId = 2, Detail = new Detail { Secret = "two" } });
        await context.SaveChangesAsync();
        await database.ExecuteAsync("UPDATE \"Paper\" SET \"Detail\" = (SELECT p.\"Detail\" FROM \"Paper\" p WHERE p.\"TenantId\" = 1)");
        await using var reader = New(database);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Set<Paper>().SingleAsync(p => p.TenantId == 2));
    }

    private static AdHocContext New(TestDatabase database) => new(database.Options(more: AdHocContext.Cached), Model);

    /// <summary>Every ring of the process forgets what it holds of the database.</summary>
    private static async Task ColdAsync(TestDatabase database)
    {
        await using var connection = database.Connect();
        KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
    }

    private sealed class Paper
    {
        public int Id { get; set; }

        public int TenantId { get; set; }

        public Detail Detail { get; set; } = new();
    }

    private sealed class Detail
    {
        [Encrypted]
        public string? Secret { get; set; }
    }
}
