using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteOrphanedRowTests() : OrphanedRowTests("SQLite");

public sealed class PostgresOrphanedRowTests() : OrphanedRowTests("PostgreSQL");

/// <summary>Rows whose tenant was taken away, and commands that could not be put together.</summary>
public abstract class OrphanedRowTests(string provider)
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Memo>(memo =>
        {
            memo.HasDataKeyPerTenant(m => m.TenantId);
            memo.Property(m => m.Grade).HasConversion(grade => grade == "F" ? Fail() : grade, text => text);
        });
        model.UseEnvelopeEncryption();
    };

    [Fact]
    public async Task A_cell_in_a_row_whose_tenant_was_set_to_null_is_refused()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = New(database);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(new Memo { TenantId = 1, Secret = "one" }, new Memo { TenantId = 2, Secret = "two" }, new Memo { TenantId = 3 });
        await context.SaveChangesAsync();
        await database.ExecuteAsync("UPDATE \"Memo\" SET \"TenantId\" = NULL WHERE \"TenantId\" <> 2");
        context.ChangeTracker.Clear();

        Assert.Equal("two", (await context.Set<Memo>().SingleAsync(m => m.TenantId == 2)).Secret);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Set<Memo>().AsNoTracking().Where(m => m.Secret != null).ToListAsync());

        // A row without a cell has nothing to refuse.
        Assert.Single(await context.Set<Memo>().AsNoTracking().Where(m => m.Secret == null).ToListAsync());
    }

    [Fact]
    public async Task What_a_failed_command_leaves_goes_with_the_next_one_of_its_context()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = New(database);
        await context.Database.EnsureCreatedAsync();
        Fail(context);
    }

    /// <summary>Synchronous, so that all of it runs on one thread.</summary>
    private static void Fail(AdHocContext context)
    {
        context.Add(new Memo { TenantId = 1, Secret = "one", Grade = "A" });
        context.SaveChanges();

        for (var n = 0; n < 3; n++)
        {
            Assert.ThrowsAny<Exception>(() => context.Set<Memo>().Where(m => m.TenantId == 1).ExecuteUpdate(set => set.SetProperty(m => m.Secret, "never").SetProperty(m => m.Grade, "F")));
        }

        Assert.Equal(1, context.Set<Memo>().Where(m => m.TenantId == 1).ExecuteUpdate(set => set.SetProperty(m => m.Secret, "two")));
        Assert.Null(CommandFrame.Current);
        Assert.Equal(["two"], context.Set<Memo>().AsNoTracking().Select(m => m.Secret).ToList());
    }

    private static string Fail() => throw new FormatException("no such grade");

    private static AdHocContext New(TestDatabase database) => new(database.Options(more: AdHocContext.Cached), Model);

    private sealed class Memo
    {
        public int Id { get; set; }

        public int? TenantId { get; set; }

        [Encrypted]
        public string? Secret { get; set; }

        public string Grade { get; set; } = "A";
    }
}
