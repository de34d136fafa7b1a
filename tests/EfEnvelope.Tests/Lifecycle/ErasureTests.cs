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

    /// <summary>Npgsql hands out one transaction object of a connection again and again.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_context_opens_nothing_by_the_keys_of_a_transaction_that_is_over_once_they_are_erased(bool inAnother)
    {
        await using var context = New("b");
        await using (var transaction = await context.Database.BeginTransactionAsync())
        {
            context.Add(new Customer { TenantId = TenantA, FullName = "n", Ssn = "s" });
            context.Add(new PaymentCard { TenantId = TenantA, Number = "c" });
            await context.SaveChangesAsync();
            await transaction.CommitAsync();
        }

        await using (var here = New())
        {
            await new EnvelopeKeys(here).EraseAsync(ScopeA, "contract ended");
        }

        PassLease();
        await using var another = inAnother ? await context.Database.BeginTransactionAsync() : null;
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.Cards.AsNoTracking().ToListAsync());
        await Assert.ThrowsAsync<KeyDestroyedException>(() => context.Customers.AsNoTracking().ToListAsync());
    }

    /// <summary>A card's cells are buffered, and opened by the id of their key when their row is handed out.</summary>
    [Fact]
    public async Task Cells_that_were_buffered_in_a_transaction_open_when_that_is_over()
    {
        await using (var before = New())
        {
            before.Add(new PaymentCard { TenantId = TenantA, Label = "before", Number = "4111-0" });
            await before.SaveChangesAsync();
        }

        await using var context = New("b");
        await using var transaction = await context.Database.BeginTransactionAsync();
        context.AddRange(new PaymentCard { TenantId = TenantA, Label = "c1", Number = "4111-1" }, new PaymentCard { TenantId = TenantA, Label = "c2", Number = "4111-2" });
        await context.SaveChangesAsync();
        await using var rows = context.Cards.AsNoTracking().Where(c => c.Label != "before").OrderBy(c => c.Label).AsAsyncEnumerable().GetAsyncEnumerator();
        Assert.True(await rows.MoveNextAsync());
        await transaction.CommitAsync();
        Assert.Equal("4111-0", (await context.Cards.AsNoTracking().SingleAsync(c => c.Label == "before")).Number);
        Assert.True(await rows.MoveNextAsync());
        Assert.Equal("4111-2", rows.Current.Number);
    }

    /// <summary>Its wrapped key is in the ring, and opens again once the change is taken back.</summary>
    [Theory]
    [InlineData("\"Reason\" = 'x'")]
    [InlineData("\"Scope\" = 'tenant:other'")]
    public async Task An_erasure_is_not_complete_while_a_row_of_the_ring_does_not_authenticate(string change)
    {
        await using var context = New();
        await SeedAsync(context, 2, 1);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        var (first, second) = (await KeyAsync(context, ScopeA.Value), await KeyAsync(context, ScopeA.Value, 2));
        using var export = new MemoryStream();
        await keys.ExportAsync(export);
        await Database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET {change} WHERE {IdIs(first.Id)}");
        var error = await Assert.ThrowsAsync<KeyRingTamperedException>(() => keys.EraseAsync(ScopeA, "contract ended"));
        Assert.Equal(first.Id, error.KeyId);
        Assert.Contains("not complete", error.Message, StringComparison.Ordinal);
        Assert.Empty(await WrappedAsync(second.Id));

        // Asked again, it does not say that the scope is erased.
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => keys.EraseAsync(ScopeA, "contract ended"));
        export.Position = 0;
        await keys.ImportAsync(export);
        Assert.Equal(first.Id, Assert.Single(await keys.EraseAsync(ScopeA, "contract ended")).Id);
        Assert.Empty(await WrappedAsync(first.Id));
        await AssertTakesNothingAsync(context);
    }

    /// <summary>A pin keeps the key's bytes for what was read, not the permission to read on.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_reader_that_stands_open_opens_nothing_more_by_a_key_that_was_erased(bool isAsync)
    {
        await using (var context = New())
        {
            await SeedAsync(context, 8, 0);
        }

        await using var elsewhere = New("b");
        var query = elsewhere.Customers.AsNoTracking().Where(c => c.TenantId == TenantA).OrderBy(c => c.Id).Select(c => new { c.TenantId, c.FullName });
        using var rows = isAsync ? query.AsAsyncEnumerable().ToBlockingEnumerable().GetEnumerator() : query.AsEnumerable().GetEnumerator();
        Assert.True(rows.MoveNext());
        Assert.True(rows.MoveNext());
        await using (var here = New())
        {
            await new EnvelopeKeys(here).EraseAsync(ScopeA, "contract ended");
        }

        PassLease();
        Assert.Throws<KeyDestroyedException>(() => rows.MoveNext());
    }

    [Fact]
    public async Task A_reader_that_stands_open_reads_on_when_the_lease_is_over()
    {
        await using (var context = New())
        {
            await SeedAsync(context, 8, 0);
        }

        await using var elsewhere = New("b");
        await using var rows = elsewhere.Customers.AsNoTracking().OrderBy(c => c.Id).AsAsyncEnumerable().GetAsyncEnumerator();
        for (var n = 0; n < 8; n++)
        {
            Assert.True(await rows.MoveNextAsync());
            Assert.Equal($"Name {n}", rows.Current.FullName);
            PassLease();
        }
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
