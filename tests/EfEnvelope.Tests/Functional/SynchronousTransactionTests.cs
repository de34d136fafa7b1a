using System.Transactions;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>Synchronous work in an ordinary <see cref="TransactionScope"/>, which is known on its own thread alone. The driver of SQLite knows none.</summary>
public sealed class SynchronousTransactionTests() : OwnerTests("PostgreSQL")
{
    [Fact]
    public async Task A_row_with_a_key_of_its_own_is_read_and_changed_in_the_scope_that_adds_it()
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        await ColdAsync();
        AddAndChange();
        await AssertStoredAsync(("a", "canary a", ["canary two"]));

        void AddAndChange()
        {
            using var context = New();
            using var scope = Scope();
            var chip = new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary one" };
            context.Add(chip);
            context.SaveChanges();
            Assert.Equal("canary one", context.Chips.AsNoTracking().Single().Serial);
            chip.Serial = "canary two";
            Assert.Equal(1, context.SaveChanges());
            Assert.Equal("canary two", context.Chips.AsNoTracking().Single().Serial);
            scope.Complete();
        }
    }

    [Fact]
    public async Task What_is_unknown_in_the_scope_is_not_remembered_as_unknown()
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        AddAndRead();
        await using var reader = New();
        Assert.Equal("canary one", (await reader.Chips.AsNoTracking().SingleAsync()).Serial);

        void AddAndRead()
        {
            using var scope = Scope();
            using (var one = New())
            {
                one.Add(new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary one" });
                one.SaveChanges();
            }

            using (var two = New())
            {
                Assert.Throws<KeyNotFoundInRingException>(() => two.Chips.AsNoTracking().ToList());
            }

            scope.Complete();
        }
    }

    [Fact]
    public async Task A_save_that_asks_for_stored_tenants_runs_in_the_scope_and_a_failed_one_leaves_it_alone()
    {
        await using var database = await TestDatabase.CreateAsync("PostgreSQL");
        await using (var context = new BankContext(database.Options()))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Customer { TenantId = TenantA, FullName = "canary a", Ssn = "s" });
            await context.SaveChangesAsync();
            EfEnvelope.Keys.KeyRingRegistry.Invalidate(context.Database.GetDbConnection().DataSource, context.Database.GetDbConnection().Database);
        }

        Add(database);
        await using var reader = new BankContext(database.Options());
        Assert.Equal("canary serial", Assert.Single((await reader.Customers.SingleAsync()).Devices).Serial);

        static void Add(TestDatabase database)
        {
            using var context = new BankContext(database.Options());
            using var scope = Scope();
            context.Database.OpenConnection();
            var customer = new Customer { Id = context.Customers.Select(c => c.Id).Single(), TenantId = TenantA, FullName = "", Ssn = "" };
            context.Attach(customer);
            customer.Devices.Add(new Device { Serial = "canary serial" });
            context.SaveChanges();
            context.ChangeTracker.Clear();

            var foreign = new Customer { Id = customer.Id, TenantId = TenantB, FullName = "", Ssn = "" };
            context.Attach(foreign);
            foreign.Devices.Add(new Device { Serial = "canary never" });
            Assert.Throws<DbUpdateConcurrencyException>(() => context.SaveChanges());
            scope.Complete();
        }
    }

    private static TransactionScope Scope() => new(TransactionScopeOption.Required, new TransactionOptions { IsolationLevel = IsolationLevel.ReadCommitted });
}
