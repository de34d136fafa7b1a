using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteKeyCacheTests() : KeyCacheTests("SQLite");

public sealed class PostgresKeyCacheTests() : KeyCacheTests("PostgreSQL");

/// <summary>The cache is bounded, what leaves it is zeroed, and nobody who works with a key loses it.</summary>
public abstract class KeyCacheTests(string provider) : IAsyncLifetime
{
    private const int Max = 16;

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;
    private RingProcess _process = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        _process = await new RingProcess(_database, _kms, new KeyRingOptions { MaxCachedKeys = Max }).CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await _process.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task The_cache_is_bounded_and_an_evicted_key_is_zeroed_and_comes_back()
    {
        using var first = new KeyPins();
        var key = await _process.Ring.GetForSealingAsync("tenant:first", _process.Store, _process.Transient, first, default);
        first.Dispose();
        for (var i = 0; i < 60; i++)
        {
            await _process.SealAsync($"tenant:{i}");
            Assert.InRange(_process.Ring.Count, 1, Max);
        }

        Assert.True(key.Key.IsDisposed);
        Assert.False(KeyRingRegistry.TryResolveForOpening(key.Id, out _));
        Assert.Equal(key.Id, await _process.OpenAsync(key.Id));
        Assert.Equal(key.Id, await _process.SealAsync("tenant:first"));
    }

    [Fact]
    public async Task A_key_in_use_is_kept_and_let_go_afterwards()
    {
        using var pins = new KeyPins();
        var key = await _process.Ring.GetForSealingAsync("tenant:used", _process.Store, _process.Transient, pins, default);
        for (var i = 0; i < 40; i++)
        {
            await _process.SealAsync($"tenant:{i}");
        }

        Assert.False(key.Key.IsDisposed);
        await _process.CompromiseAsync(key.Id);
        await _process.ChangeAsync(key.Id, KeyState.Revoked);
        Assert.False(key.Key.IsDisposed);
        pins.Dispose();
        Assert.True(key.Key.IsDisposed);
    }

    [Fact]
    public async Task Kek_stay_with_the_row_keys_that_they_opened_and_leave_with_them()
    {
        var drafts = new List<RowKeyDraft>();
        for (var i = 0; i < 40; i++)
        {
            drafts.Add(await _process.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@tenant:{i}", 1, _process.Store, _process.Transient, default));
        }

        Assert.All(drafts, d => Assert.False(d.Key.Kek!.Key.IsDisposed));
        drafts.ForEach(d => d.Key.Drop());
        Assert.All(drafts, d => Assert.True(d.Key.Key.IsDisposed));
        await _process.SealAsync("tenant:more1");
        for (var i = 0; i < Max; i++)
        {
            await _process.SealAsync($"tenant:more{i}");
        }

        Assert.InRange(_process.Ring.Count, 1, Max);
        Assert.Contains(drafts, d => d.Key.Kek!.Key.IsDisposed);
    }

    [Fact]
    public async Task Dropping_the_ring_zeroes_everything_it_holds()
    {
        using var pins = new KeyPins();
        var key = await _process.Ring.GetForSealingAsync(KeyScope.Global, _process.Store, _process.Transient, pins, default);
        pins.Dispose();
        _process.Ring.Invalidate();
        Assert.True(key.Key.IsDisposed);
        Assert.Equal(0, _process.Ring.Count);
        Assert.Equal(key.Id, await _process.SealAsync());
    }

    [Fact]
    public async Task More_tenants_at_once_than_the_cache_holds_fail_nobodys_save_or_query()
    {
        const int tenants = 48;
        var options = _database.Options(e => e.With(o => o with { MaxCachedKeys = Max }));
        var ids = Enumerable.Range(0, tenants).Select(_ => Guid.NewGuid()).ToArray();
        await Parallel.ForEachAsync(ids, new ParallelOptions { MaxDegreeOfParallelism = provider == "SQLite" ? 2 : 8 }, async (tenant, token) =>
        {
            for (var i = 0; i < 3; i++)
            {
                await using var context = new BankContext(options);
                context.Add(new Customer { TenantId = tenant, FullName = "n" + tenant, Ssn = "s" });
                context.Add(new PaymentCard { TenantId = tenant, Number = "c" + tenant });
                await context.SaveChangesAsync(token);
            }
        });

        await using var reader = new BankContext(options);
        var customers = await reader.Customers.AsNoTracking().ToListAsync();
        Assert.Equal(tenants * 3, customers.Count);
        Assert.All(customers, c => Assert.Equal("n" + c.TenantId, c.FullName));
        var cards = await reader.Cards.AsNoTracking().ToListAsync();
        Assert.Equal(tenants * 3, cards.Count);
        Assert.All(cards, c => Assert.Equal("c" + c.TenantId, c.Number));
    }

    [Fact]
    public async Task One_save_of_more_keys_than_the_cache_holds_completes()
    {
        var options = _database.Options(e => e.With(o => o with { MaxCachedKeys = Max }));
        await using (var context = new BankContext(options))
        {
            for (var i = 0; i < 40; i++)
            {
                context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "n", Ssn = "s" });
                context.Add(new PaymentCard { TenantId = Guid.NewGuid(), Number = "c" });
            }

            Assert.Equal(80, await context.SaveChangesAsync());
        }

        await using (var context = new BankContext(options))
        {
            foreach (var card in await context.Cards.ToListAsync())
            {
                card.Holder = "h";
            }

            foreach (var customer in await context.Customers.ToListAsync())
            {
                customer.Ssn = "t";
            }

            Assert.Equal(80, await context.SaveChangesAsync());
        }
    }
}
