using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteKeyBudgetTests() : KeyBudgetTests("SQLite");

public sealed class PostgresKeyBudgetTests() : KeyBudgetTests("PostgreSQL");

/// <summary>Calls of the key service and queries of the ring (G18).</summary>
public abstract class KeyBudgetTests(string provider) : IAsyncLifetime
{
    private const int Readers = 200;

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;
    private RingProcess _maker = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        _maker = await new RingProcess(_database, _kms).CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await _maker.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Two_hundred_cold_readers_of_a_slow_key_service_make_one_call_a_key()
    {
        var keys = new List<Guid>();
        for (var i = 0; i < 4; i++)
        {
            keys.Add(await _maker.SealAsync($"tenant:{i}"));
        }

        await using var cold = new RingProcess(_database, _kms);

        // The ring's own mac key, which is no reader's.
        var before = _kms.Unwrapped;
        await cold.Ring.ComputeMacAsync(new byte[1], cold.Store, default);
        Assert.Equal(1, _kms.Unwrapped - before);
        _kms.UnwrapsByKey.Clear();
        var looked = 0;
        var allLooked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var (toTheService, goOn) = (new TaskCompletionSource(), new TaskCompletionSource());
        cold.Store.AfterFindById = () =>
        {
            if (Interlocked.Increment(ref looked) == Readers)
            {
                allLooked.SetResult();
            }

            return toTheService.Task;
        };
        _kms.Gate = () => goOn.Task;
        var readers = Enumerable.Range(0, Readers).Select(i => Task.Run(() => cold.OpenAsync(keys[i % keys.Count]))).ToList();
        await allLooked.Task;

        // Each goes on within this call, to where it waits for its field key.
        await Task.Run(toTheService.SetResult);
        Assert.DoesNotContain(readers, r => r.IsCompleted);
        goOn.SetResult();
        var opened = await Task.WhenAll(readers);
        Assert.Equal(keys, opened.Take(keys.Count));
        Assert.Equal(1 + keys.Count, _kms.Unwrapped - before);
        Assert.Equal(keys.Count, _kms.UnwrapsByKey.Count);
        Assert.All(_kms.UnwrapsByKey.Values, calls => Assert.Equal(1, calls));
        cold.Store.AfterFindById = null;

        foreach (var key in keys)
        {
            await cold.OpenAsync(key);
            Assert.Equal(key, await cold.SealAsync($"tenant:{keys.IndexOf(key)}"));
        }

        Assert.Equal(1 + keys.Count, _kms.Unwrapped - before);
    }

    [Fact]
    public async Task Two_hundred_readers_at_the_revalidation_make_one_call_for_their_key()
    {
        var key = await _maker.SealAsync();
        var wrapped = Convert.ToHexString((await _maker.Store.FindByIdAsync([key], default)).Single().Wrapped);
        _kms.UnwrapsByKey.Clear();
        _maker.Time.Advance(new KeyRingOptions().KeyRevalidationInterval + TimeSpan.FromSeconds(1));
        var goOn = new TaskCompletionSource();
        _kms.Gate = () => goOn.Task;

        // Each runs within this call to where it waits for the key service.
        var readers = Enumerable.Range(0, Readers).Select(_ => _maker.OpenAsync(key)).ToList();
        Assert.DoesNotContain(readers, r => r.IsCompleted);
        goOn.SetResult();
        Assert.All(await Task.WhenAll(readers), opened => Assert.Equal(key, opened));

        // The ring's mac key is asked for too, in the background.
        Assert.Equal(1, _kms.UnwrapsByKey[wrapped]);
    }

    [Fact]
    public async Task Ten_thousand_unknown_key_ids_cost_ten_queries_and_no_call_of_the_key_service()
    {
        await _maker.SealAsync();
        using var commands = new CommandCount();
        await using var reader = new RingProcess(_database, _kms, wrap: commands.Watch);
        await reader.SealAsync();
        var unknown = Enumerable.Range(0, 10_000).Select(_ => Guid.NewGuid()).ToList();
        var (calls, before) = (_kms.Calls, commands.OfTheTable);
        Assert.NotEqual(0, before);
        using var pins = new KeyPins();
        await reader.Ring.LoadForOpeningAsync(unknown, reader.Store, reader.Transient, pins, default);
        var cost = commands.OfTheTable - before;
        Assert.Equal(10, cost);
        await reader.Ring.LoadForOpeningAsync(unknown, reader.Store, reader.Transient, pins, default);
        Assert.Equal(cost, commands.OfTheTable - before);
        Assert.Equal(calls, _kms.Calls);
        Assert.Equal(0, pins.Count);
        Assert.Equal(unknown[7], Assert.Throws<KeyNotFoundInRingException>(() => reader.Ring.GetForOpening(unknown[7], reader.Transient)).KeyId);
    }

    [Fact]
    public async Task A_key_that_was_unknown_a_moment_ago_is_found_once_it_is_there()
    {
        await using var reader = new RingProcess(_database, _kms);
        await reader.SealAsync();
        var material = new byte[32];
        System.Security.Cryptography.RandomNumberGenerator.Fill(material);
        var made = await _maker.SealAsync("tenant:new");
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"Scope\" = 'hidden' WHERE \"Scope\" = 'tenant:new'");
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => reader.OpenAsync(made));
        await _database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"Scope\" = 'tenant:new' WHERE \"Scope\" = 'hidden'");
        reader.Time.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(made, await reader.OpenAsync(made));
    }

    [Fact]
    public async Task A_thousand_scopes_of_a_container_make_one_call_a_key()
    {
        var tenant = Guid.NewGuid();
        var clock = new FakeTimeProvider();
        await using (var context = new BankContext(_database.Options()))
        {
            context.Add(new Customer { TenantId = tenant, FullName = "n", Ssn = "s" });
            await context.SaveChangesAsync();
        }

        var before = _kms.Calls;
        await using var services = new ServiceCollection().AddDbContext<ScopedBankContext>(options =>
        {
            _database.UseProvider(options);
            options.UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms).UseTimeProvider(clock));
        }).BuildServiceProvider();
        for (var i = 0; i < 1000; i++)
        {
            await using var scope = services.CreateAsyncScope();
            var context = scope.ServiceProvider.GetRequiredService<ScopedBankContext>();
            if (i % 50 == 0)
            {
                Assert.Equal("n", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            }
            else
            {
                Assert.NotNull(EfEnvelope.Storage.EnvelopeSession.Of(context).Ring);
            }
        }

        // The ring's mac key and the tenant's.
        Assert.Equal(2, _kms.Calls - before);
    }

    [Fact]
    public async Task A_new_scope_costs_one_call()
    {
        await _maker.SealAsync();
        var before = _kms.Calls;
        var key = await _maker.SealAsync("tenant:fresh");
        Assert.Equal(key, await _maker.OpenAsync(key));
        Assert.Equal(1, _kms.Calls - before);
    }

    public sealed class ScopedBankContext(DbContextOptions<ScopedBankContext> options) : BankContext(options);
}
