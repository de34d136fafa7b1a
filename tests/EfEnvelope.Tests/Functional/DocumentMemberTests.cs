using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteDocumentMemberTests() : DocumentMemberTests("SQLite");

public sealed class PostgresDocumentMemberTests() : DocumentMemberTests("PostgreSQL");

/// <summary>A length of a document's member is the application's own rule: no column has it, so it bounds no armour.</summary>
public abstract class DocumentMemberTests(string provider)
{
    private static readonly Action<ModelBuilder> Owned = m => Configure(m, holder => holder.OwnsOne(h => h.Detail, detail => detail.ToJson().Property(d => d.Secret).HasMaxLength(20).IsEncrypted()));

    private static readonly Action<ModelBuilder> Complex = m => Configure(m, holder => holder.ComplexProperty(h => h.Detail, detail => detail.ToJson().Property(d => d.Secret).HasMaxLength(100).IsEncrypted()));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_member_with_a_length_is_saved_and_changed_alone(bool complex)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using (var context = New(database, complex))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Holder { Detail = { Secret = "canary", Other = "o" } });
            await context.SaveChangesAsync();
        }

        await using (var context = New(database, complex))
        {
            (await context.Set<Holder>().SingleAsync()).Detail.Secret = "canary " + new string('x', 100);
            await context.SaveChangesAsync();
        }

        Assert.DoesNotContain("canary", (string)(await database.ScalarAsync("SELECT CAST(\"Detail\" AS text) FROM \"Holders\""))!, StringComparison.Ordinal);
        await using var reader = New(database, complex);
        Assert.Equal(new { Secret = "canary " + new string('x', 100), Other = "o" }, await reader.Set<Holder>().AsNoTracking().Select(h => new { h.Detail.Secret, h.Detail.Other }).SingleAsync());
        Assert.Equal("canary " + new string('x', 100), (await reader.Set<Holder>().SingleAsync()).Detail.Secret);
    }

    /// <summary>What the application set comes back when the property is left in the clear after all.</summary>
    [Fact]
    public async Task The_length_comes_back_with_the_plaintext()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), m =>
        {
            Owned(m);
            m.Entity<Holder>().OwnsOne(h => h.Detail, detail => detail.Property(d => d.Secret).IsNotEncrypted());
        });
        Assert.Equal(20, context.Model.FindEntityType(typeof(Holder))!.FindNavigation("Detail")!.TargetEntityType.FindProperty("Secret")!.GetMaxLength());
    }

    private static void Configure(ModelBuilder model, Action<Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Holder>> map)
    {
        model.Entity<Holder>(holder =>
        {
            holder.ToTable("Holders");
            map(holder);
        });
        model.UseEnvelopeEncryption();
    }

    private static AdHocContext New(TestDatabase database, bool complex) => new(database.Options(more: AdHocContext.Cached), complex ? Complex : Owned);

    public sealed class Holder
    {
        public int Id { get; set; }

        public Detail Detail { get; set; } = new();
    }

    public sealed class Detail
    {
        public string Secret { get; set; } = "";

        public string Other { get; set; } = "";
    }
}
