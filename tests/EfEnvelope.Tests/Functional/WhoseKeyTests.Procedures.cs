using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>Rows that stored procedures write.</summary>
public abstract partial class WhoseKeyTests
{
    /// <summary>PostgreSQL has stored procedures, SQLite none.</summary>
    [Fact]
    public async Task Stored_procedures_get_envelopes_and_only_for_the_rows_own_tenant()
    {
        if (provider == "SQLite")
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => SaveAsync(Procedures, new Deal { Id = 5, Tenant = 1, Secret = "one" }));
            return;
        }

        await using (var context = New(Procedures))
        {
            await context.Database.EnsureCreatedAsync();
            await _database.ExecuteAsync(
                """
                CREATE PROCEDURE deal_insert(id int, tenant int, secret bytea, other bytea) LANGUAGE sql AS $$ INSERT INTO "Deals" ("Id", "Tenant", "Secret", "Other") VALUES (id, tenant, secret, other) $$;
                CREATE PROCEDURE deal_update(id int, secret bytea, other bytea) LANGUAGE sql AS $$ UPDATE "Deals" SET "Secret" = secret, "Other" = other WHERE "Id" = id $$
                """);
            context.Add(new Deal { Id = 5, Tenant = 1, Secret = "one" });
            await context.SaveChangesAsync();
        }

        await using (var context = New(Procedures))
        {
            var deal = await context.Set<Deal>().SingleAsync();
            Assert.Equal("one", deal.Secret);
            deal.Secret = "two";
            await context.SaveChangesAsync();
        }

        await using (var context = New(Procedures))
        {
            context.Attach(new Deal { Id = 5, Tenant = 2 }).Property(d => d.Secret).CurrentValue = "evil";
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New(Procedures);
        Assert.Equal("two", (await reader.Set<Deal>().AsNoTracking().SingleAsync()).Secret);
        Assert.Equal([("tenant:1", "5")], await StoredCells.ScopesAsync(_database, "Deals", "Secret", "Id"));
    }

    private static void Procedures(ModelBuilder m)
    {
        m.Entity<Deal>(d =>
        {
            d.ToTable("Deals").HasDataKeyPerTenant(x => x.Tenant);
            d.Property(x => x.Id).ValueGeneratedNever();
            d.InsertUsingStoredProcedure("deal_insert", p => p.HasParameter(x => x.Id).HasParameter(x => x.Tenant).HasParameter(x => x.Secret).HasParameter(x => x.Other));
            d.UpdateUsingStoredProcedure("deal_update", p => p.HasOriginalValueParameter(x => x.Id).HasParameter(x => x.Secret).HasParameter(x => x.Other));
        });
        m.UseEnvelopeEncryption();
    }
}
