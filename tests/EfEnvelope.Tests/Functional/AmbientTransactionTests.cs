using System.Transactions;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Functional;

/// <summary>Row keys in transactions of System.Transactions, which the driver of SQLite does not know.</summary>
public sealed class AmbientTransactionTests() : OwnerTests("PostgreSQL")
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Rows_with_keys_of_their_own_are_read_and_changed_in_the_scope_that_adds_them(bool enlisted)
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        await using (var context = New())
        {
            using var scope = enlisted ? null : Scope();
            using var transaction = enlisted ? new CommittableTransaction() : null;
            if (enlisted)
            {
                await context.Database.OpenConnectionAsync();
                context.Database.EnlistTransaction(transaction);
            }

            var chip = new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary one" };
            context.Add(chip);
            await context.SaveChangesAsync();
            Assert.Equal("canary one", (await context.Chips.AsNoTracking().SingleAsync()).Serial);
            chip.Serial = "canary two";
            Assert.Equal(1, await context.SaveChangesAsync());
            Assert.Equal("canary two", (await context.Chips.AsNoTracking().SingleAsync()).Serial);
            scope?.Complete();
            transaction?.Commit();
        }

        await using (var other = New())
        {
            Assert.Equal("canary two", (await other.Chips.AsNoTracking().SingleAsync()).Serial);
        }

        await AssertStoredAsync(("a", "canary a", ["canary two"]));
    }

    [Fact]
    public async Task A_scope_that_is_rolled_back_leaves_no_key_behind_and_the_context_goes_on()
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        await using (var context = New())
        {
            var chip = new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary gone" };
            using (Scope())
            {
                context.Add(chip);
                await context.SaveChangesAsync(acceptAllChangesOnSuccess: false);
            }

            Assert.Equal(0, await RowKeysAsync());
            using (var scope = Scope())
            {
                chip.Serial = "canary kept";
                await context.SaveChangesAsync();
                scope.Complete();
            }

            // A later transaction is another one: the key comes from its committed row.
            using (var scope = Scope())
            {
                chip.Serial = "canary changed";
                await context.SaveChangesAsync();
                scope.Complete();
            }
        }

        await AssertStoredAsync(("a", "canary a", ["canary changed"]));
    }

    /// <summary>Contexts that share one transaction do not share the keys that it made; but what is unknown in it is not remembered as unknown.</summary>
    [Fact]
    public async Task A_row_that_another_context_of_the_transaction_cannot_open_yet_opens_as_soon_as_it_is_committed()
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        await using (var connection = new NpgsqlConnection(Database.ConnectionString))
        {
            await connection.OpenAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await using (var one = New(o => o.UseNpgsql(connection)))
            {
                await one.Database.UseTransactionAsync(transaction);
                one.Add(new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary shared" });
                await one.SaveChangesAsync();
            }

            await using (var two = New(o => o.UseNpgsql(connection)))
            {
                await two.Database.UseTransactionAsync(transaction);
                await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => two.Chips.AsNoTracking().ToListAsync());
            }

            await transaction.CommitAsync();
        }

        await using var reader = New();
        Assert.Equal("canary shared", (await reader.Chips.SingleAsync()).Serial);
    }

    private static TransactionScope Scope()
        => new(TransactionScopeOption.Required, new TransactionOptions { IsolationLevel = IsolationLevel.ReadCommitted }, TransactionScopeAsyncFlowOption.Enabled);
}
