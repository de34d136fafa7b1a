using System.Data.Common;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteReplacedCommandTests() : ReplacedCommandTests("SQLite");

public sealed class PostgresReplacedCommandTests() : ReplacedCommandTests("PostgreSQL");

/// <summary>An interceptor of the application's that puts a command of its own in the place of EF's.</summary>
public abstract class ReplacedCommandTests(string provider)
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    [Fact]
    public async Task Its_rows_are_compared_and_its_values_sealed_all_the_same()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using (var context = new BankContext(database.Options()))
        {
            await context.Database.EnsureCreatedAsync();
        }

        await using (var context = New(database))
        {
            context.AddRange(new Customer { TenantId = TenantA, FullName = "canary a", Ssn = "1" }, new Customer { TenantId = TenantB, FullName = "canary b", Ssn = "2" });
            await context.SaveChangesAsync();
            Assert.Equal(1, await context.Customers.Where(c => c.TenantId == TenantB).ExecuteUpdateAsync(set => set.SetProperty(c => c.Ssn, "canary 3")));
            context.ChangeTracker.Clear();
            Assert.Equal(["canary a", "canary b"], (await context.Customers.ToListAsync()).Select(c => c.FullName).Order(StringComparer.Ordinal));
            Assert.Equal("canary 3", await context.Customers.Where(c => c.TenantId == TenantB).Select(c => c.Ssn).SingleAsync());
            await StoredCells.AssertSealedAsync(database, context, "canary");
        }

        await database.ExecuteAsync("UPDATE \"Customers\" SET \"FullName\" = (SELECT o.\"FullName\" FROM \"Customers\" o ORDER BY o.\"Id\" LIMIT 1)");
        await using var reader = New(database);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Customers.ToListAsync());
    }

    private static BankContext New(TestDatabase database) => new(database.Options(more: o => o.AddInterceptors(new Replacing())));

    private sealed class Replacing : DbCommandInterceptor
    {
        public override DbCommand CommandInitialized(CommandEndEventData eventData, DbCommand result)
        {
            var replaced = result.Connection!.CreateCommand();
            (replaced.CommandText, replaced.Transaction) = (result.CommandText, result.Transaction);
            foreach (var parameter in result.Parameters.Cast<DbParameter>().ToList())
            {
                result.Parameters.Remove(parameter);
                replaced.Parameters.Add(parameter);
            }

            return replaced;
        }
    }
}
