using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Storage.Ring;

public sealed class SqliteRingCreationTests() : RingCreationTests("SQLite");

public sealed class PostgresRingCreationTests() : RingCreationTests("PostgreSQL");

/// <summary>Keys that are made while others make them, and in transactions that end badly (G28).</summary>
public abstract class RingCreationTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        await using var context = Cold();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Racing_creators_in_many_processes_fail_nobodys_save_and_end_with_one_active_key()
    {
        var count = provider == "SQLite" ? 6 : 16;
        using var start = new SemaphoreSlim(0);
        var savers = Enumerable.Range(0, count).Select(i => Task.Run(async () =>
        {
            await using var context = Cold();
            context.Add(new Customer { TenantId = Tenant, FullName = "n" + i, Ssn = "s" });
            context.Add(new PaymentCard { TenantId = Tenant, Number = "c" + i });
            await start.WaitAsync();
            await context.SaveChangesAsync();
        })).ToList();
        start.Release(count);
        await Task.WhenAll(savers);

        await using var reader = Cold();
        Assert.Equal(Enumerable.Range(0, count).Select(i => "n" + i).Order(StringComparer.Ordinal), (await reader.Customers.AsNoTracking().ToListAsync()).Select(c => c.FullName).Order(StringComparer.Ordinal));
        Assert.Equal(count, (await reader.Cards.AsNoTracking().ToListAsync()).Count);
        var keys = await new EnvelopeKeys(reader).ListAsync();
        Assert.Equal(3, keys.Count);
        Assert.All(keys, k => Assert.Equal((1, KeyState.Active), (k.Version, k.State)));
    }

    [Fact]
    public async Task Racing_rotations_end_with_one_active_key()
    {
        await SaveAsync("one");
        await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => Task.Run(async () =>
        {
            await using var context = Cold();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(Tenant));
        })));
        await SaveAsync("two");
        await using var reader = Cold();
        var keys = (await new EnvelopeKeys(reader).ListAsync()).Where(k => k.Scope == $"tenant:{Tenant}" && k.Purpose == KeyPurpose.Field).OrderBy(k => k.Version).ToList();
        Assert.Equal(Enumerable.Range(1, 6), keys.Select(k => k.Version));
        Assert.Equal(["one", "two"], (await reader.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
        Assert.Equal(keys[^1].Id, Assert.Single(keys, k => k.State == KeyState.Active).Id);
    }

    [Fact]
    public async Task A_rolled_back_creation_leaves_no_key_in_any_cache()
    {
        var clock = new FakeTimeProvider();
        var options = _database.Options(e => e.UseTimeProvider(clock));
        KeyRing ring;
        List<Guid> seen;
        await using (var context = new BankContext(options))
        {
            ring = EnvelopeSession.Of(context).Ring;
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(new Customer { TenantId = Tenant, FullName = "gone", Ssn = "s" });
            context.Add(new PaymentCard { TenantId = Tenant, Number = "gone" });
            await context.SaveChangesAsync();
            Assert.Equal("gone", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            Assert.Equal("gone", (await context.Cards.AsNoTracking().SingleAsync()).Number);
            seen = await IdsAsync(context);
            await transaction.RollbackAsync();
        }

        await using var process = new RingProcess(_database, _kms);
        var left = (await process.Store.ListAsync(includeRowKeys: true, default)).Select(e => e.Id).ToHashSet();
        var rolledBack = seen.Where(id => !left.Contains(id)).ToList();
        Assert.NotEmpty(rolledBack);
        Assert.All(rolledBack, id =>
        {
            Assert.False(ring.TryGetHeld(id, out _));
            Assert.False(KeyRingRegistry.TryResolveForOpening(id, out _));
        });
    }

    [Fact]
    public async Task The_next_transaction_of_the_same_context_does_not_use_a_key_that_was_rolled_back()
    {
        await using (var context = Cold())
        {
            await using (var transaction = await context.Database.BeginTransactionAsync())
            {
                context.Add(new Customer { TenantId = Tenant, FullName = "gone", Ssn = "s" });
                await context.SaveChangesAsync();
                await transaction.RollbackAsync();
            }

            context.ChangeTracker.Clear();
            await using (var transaction = await context.Database.BeginTransactionAsync())
            {
                context.Add(new Customer { TenantId = Tenant, FullName = "kept", Ssn = "s" });
                context.Add(new PaymentCard { TenantId = Tenant, Number = "kept" });
                await context.SaveChangesAsync();
                await transaction.CommitAsync();
            }
        }

        await using var reader = Cold();
        Assert.Equal("kept", (await reader.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal("kept", (await reader.Cards.AsNoTracking().SingleAsync()).Number);
    }

    [Fact]
    public async Task A_rollback_to_a_savepoint_takes_no_key_that_is_used_afterwards()
    {
        await using (var context = Cold())
        {
            await using var transaction = await context.Database.BeginTransactionAsync();
            await transaction.CreateSavepointAsync("before");
            context.Add(new Customer { TenantId = Tenant, FullName = "gone", Ssn = "s" });
            context.Add(new PaymentCard { TenantId = Tenant, Number = "gone" });
            await context.SaveChangesAsync();
            await transaction.RollbackToSavepointAsync("before");
            context.ChangeTracker.Clear();
            context.Add(new Customer { TenantId = Tenant, FullName = "kept", Ssn = "s" });
            context.Add(new PaymentCard { TenantId = Tenant, Number = "kept" });
            await context.SaveChangesAsync();
            await transaction.CommitAsync();
        }

        await using var reader = Cold();
        Assert.Equal("kept", (await reader.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal("kept", (await reader.Cards.AsNoTracking().SingleAsync()).Number);
    }

    [Fact]
    public async Task Several_saves_in_one_transaction_cost_each_key_one_call()
    {
        await SaveAsync("warm");
        await using var context = Cold();
        await using var transaction = await context.Database.BeginTransactionAsync();
        var before = _kms.Calls;
        for (var i = 0; i < 10; i++)
        {
            context.Add(new Customer { TenantId = Tenant, FullName = "n" + i, Ssn = "s" });
            await context.SaveChangesAsync();
        }

        Assert.Equal(11, (await context.Customers.AsNoTracking().ToListAsync()).Count);
        await transaction.CommitAsync();

        // The ring's mac key and the tenant's.
        Assert.Equal(2, _kms.Calls - before);
    }

    [Fact]
    public async Task A_key_service_that_fails_in_the_middle_of_a_save_leaves_nothing_and_the_next_save_works()
    {
        await using var context = Cold();
        context.Add(new Customer { TenantId = Tenant, FullName = "n", Ssn = "s" });
        _kms.Failure = () => new KeyUnavailableException("no");
        await Assert.ThrowsAsync<KeyUnavailableException>(() => context.SaveChangesAsync());
        Assert.Equal(0L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\"")));
        Assert.Equal(0L, Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\"")));
        _kms.Failure = null;
        Assert.Equal(1, await context.SaveChangesAsync());
        Assert.Equal("n", (await Cold().Customers.AsNoTracking().SingleAsync()).FullName);
    }

    [Fact]
    public async Task Store_outage_never_creates_a_key()
    {
        await using var process = new RingProcess(_database, _kms);
        process.Store.OutOfReach = true;
        var before = _kms.Calls;
        await Assert.ThrowsAsync<KeyUnavailableException>(() => process.SealAsync());
        Assert.Equal(before, _kms.Calls);
    }

    [Fact]
    public async Task Keys_are_not_changed_inside_a_transaction_that_may_roll_back()
    {
        await SaveAsync("one");
        await using var context = Cold();
        await using (await context.Database.BeginTransactionAsync())
        {
            var error = await Record.ExceptionAsync(() => new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(Tenant)));
            Assert.True(provider == "SQLite" ? error is EnvelopeConfigurationException : error is null, $"{error}");
        }

        await SaveAsync("two");
        await using var reader = Cold();
        Assert.Equal(["one", "two"], (await reader.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
    }

    [Fact]
    public async Task A_save_that_is_given_up_takes_no_key_from_those_who_wait_for_the_same()
    {
        var clock = new FakeTimeProvider();
        var options = _database.Options(e => e.UseTimeProvider(clock));
        await using (var warm = new BankContext(options))
        {
            warm.Add(new Ledger { Code = "warm", Year = 1, Balance = 1 });
            await warm.SaveChangesAsync();
        }

        var generating = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        _kms.GenerateGate = () =>
        {
            generating.TrySetResult();
            return goOn.Task;
        };
        using var giveUp = new CancellationTokenSource();
        var impatient = new BankContext(options);
        impatient.Add(new Customer { TenantId = Tenant, FullName = "impatient", Ssn = "s" });
        var given = impatient.SaveChangesAsync(giveUp.Token);
        await generating.Task;
        await using var patient = new BankContext(options);
        patient.Add(new Customer { TenantId = Tenant, FullName = "patient", Ssn = "s" });
        var saving = patient.SaveChangesAsync();
        await giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => given);
        await impatient.DisposeAsync();
        goOn.SetResult();
        Assert.Equal(1, await saving);
        Assert.Equal("patient", (await patient.Customers.AsNoTracking().SingleAsync()).FullName);
    }

    [Fact]
    public async Task A_store_outlives_its_context_once_it_is_detached()
    {
        IKeyRingStore detached;
        await using (var context = Cold())
        {
            await context.Database.OpenConnectionAsync();
            detached = EfEnvelope.Storage.Ring.RingStoreFactory.For(context, null).Detach();
        }

        var identity = await detached.GetIdentityAsync(default);
        Assert.Equal(identity.Id, (await detached.GetIdentityAsync(default)).Id);
    }

    [Fact]
    public async Task A_row_key_made_in_one_transaction_serves_the_next_ones_and_other_contexts()
    {
        var clock = new FakeTimeProvider();
        var options = _database.Options(e => e.UseTimeProvider(clock));
        await using (var context = new BankContext(options))
        {
            var card = new PaymentCard { TenantId = Tenant, Number = "0" };
            context.Add(card);
            for (var i = 1; i <= 3; i++)
            {
                await using var transaction = await context.Database.BeginTransactionAsync();
                card.Number = i.ToString(System.Globalization.CultureInfo.InvariantCulture);
                await context.SaveChangesAsync();
                await transaction.CommitAsync();
            }

            card.Number = "4";
            await context.SaveChangesAsync();
            Assert.Equal("4", (await context.Cards.AsNoTracking().SingleAsync()).Number);
            card.Number = "5";
            await context.SaveChangesAsync();
        }

        await using var other = new BankContext(options);
        Assert.Equal("5", (await other.Cards.SingleAsync()).Number);
    }

    private static async Task<List<Guid>> IdsAsync(BankContext context)
    {
        var connection = context.Database.GetDbConnection();
        await using var command = connection.CreateCommand();
        command.Transaction = Microsoft.EntityFrameworkCore.Storage.DbContextTransactionExtensions.GetDbTransaction(context.Database.CurrentTransaction!);
        command.CommandText = "SELECT \"Id\" FROM \"EnvelopeKeys\"";
        await using var reader = await command.ExecuteReaderAsync();
        var ids = new List<Guid>();
        while (await reader.ReadAsync())
        {
            ids.Add(reader.GetGuid(0));
        }

        return ids;
    }

    private BankContext Cold()
    {
        var clock = new FakeTimeProvider();
        return new BankContext(_database.Options(e => e.UseTimeProvider(clock)));
    }

    private async Task SaveAsync(string name)
    {
        await using var context = Cold();
        context.Add(new Customer { TenantId = Tenant, FullName = name, Ssn = "s" });
        await context.SaveChangesAsync();
    }
}
