using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

public sealed class SqliteErasureTests() : ErasureTests("SQLite");

public sealed class PostgresErasureTests() : ErasureTests("PostgreSQL");

/// <summary>Erasing a tenant destroys its keys (G16).</summary>
public abstract class ErasureTests(string provider) : LifecycleFixture(provider)
{
    [Fact]
    public async Task An_erased_tenant_is_refused_here_at_once_and_elsewhere_within_the_lease_and_others_read_on()
    {
        await using (var context = New())
        {
            await SeedAsync(context, 6, 3);
        }

        await using var elsewhere = New("b");
        Assert.Equal(6, (await elsewhere.Customers.AsNoTracking().ToListAsync()).Count);
        await using var here = New();
        var erased = await new EnvelopeKeys(here).EraseAsync(ScopeA, "contract ended");
        Assert.Equal(5, erased.Count);
        Assert.All(erased, k => Assert.Equal(KeyState.Destroyed, k.State));

        await AssertErasedAsync(here);
        PassLease();
        await AssertErasedAsync(elsewhere);
        await using var cold = New("c");
        await AssertErasedAsync(cold);
    }

    [Fact]
    public async Task Wrong_input_is_a_typed_error()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var keys = new EnvelopeKeys(context);
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.EraseAsync(EnvelopeScope.Global, "no"));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.EraseAsync(EnvelopeScope.Tenant(7), "no"));
        await keys.EraseAsync(ScopeA, "yes");
        await Assert.ThrowsAsync<KeyDestroyedException>(() => keys.EraseAsync(ScopeA, "again"));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => keys.ReportCompromisedAsync(ScopeA, "late"));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => keys.RotateAsync(ScopeA));
        await AssertTakesNothingAsync(context);
    }

    [Fact]
    public async Task A_row_key_that_is_committed_after_its_scope_was_erased_is_destroyed_with_what_is_due()
    {
        await using var context = New();
        await SeedAsync(context, 0, 1);
        var session = EnvelopeSession.Of(context);
        var store = session.OpenStore();

        // As a user's transaction does that began before the erasure.
        var draft = await session.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@{ScopeA.Value}", 1, store, session.TransientKeys, default);
        draft.Key.Drop();
        var keys = new EnvelopeKeys(context);
        await keys.EraseAsync(ScopeA, "contract ended");
        Assert.Equal(1, await store.TryInsertAsync([draft.Entry], default));
        var report = await keys.DestroyDueAsync();
        Assert.Equal((draft.Entry.Id, KeyState.Destroyed), Assert.Single(report.Destroyed.Select(k => (k.Id, k.State))));
        Assert.Empty(await WrappedAsync(draft.Entry.Id));
        Assert.Equal(0, (await keys.DestroyDueAsync()).Destroyed.Total);
    }

    private static async Task AssertErasedAsync(BankContext context)
    {
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).ToListAsync());
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.Cards.AsNoTracking().ToListAsync());
        Assert.Equal(3, (await context.Customers.AsNoTracking().Where(c => c.TenantId == TenantB).ToListAsync()).Count);
        await AssertTakesNothingAsync(context);
    }

    private static async Task AssertTakesNothingAsync(BankContext context)
    {
        context.Add(new Customer { TenantId = TenantA, FullName = "n", Ssn = "s" });
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.SaveChangesAsync());
        context.ChangeTracker.Clear();
        context.Add(new PaymentCard { TenantId = TenantA, Number = "n" });
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.SaveChangesAsync());
        context.ChangeTracker.Clear();
    }
}
