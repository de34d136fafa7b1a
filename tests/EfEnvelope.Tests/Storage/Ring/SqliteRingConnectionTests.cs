using EfEnvelope.JobProcess.Load;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Storage.Ring;

/// <summary>Databases in memory, and transactions of SQLite's one writer.</summary>
public sealed class SqliteRingConnectionTests
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private readonly ScriptedKeyService _kms = new();

    [Fact]
    public async Task A_database_in_memory_works_with_and_without_transactions_and_ends_with_its_connection()
    {
        RingKey held;
        await using (var connection = new SqliteConnection("Data Source=:memory:"))
        {
            await connection.OpenAsync();
            await using var context = new BankContext(Options(connection));
            await context.Database.EnsureCreatedAsync();
            context.Add(NewCustomer("one"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "card" });
            await context.SaveChangesAsync();
            await using (var transaction = await context.Database.BeginTransactionAsync())
            {
                context.Add(NewCustomer("two"));
                await context.SaveChangesAsync();
                await transaction.CommitAsync();
            }

            Assert.Equal(["one", "two"], (await context.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
            Assert.Equal("card", (await context.Cards.AsNoTracking().SingleAsync()).Number);
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(Tenant));
            Assert.True((await new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero })).Rows >= 2);
            Assert.Equal(["one", "two"], (await context.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
            var ring = EnvelopeSession.Of(context).Ring;
            var key = (await new EnvelopeKeys(context).ListAsync()).First(k => k.Scope == $"tenant:{Tenant}" && k.State == KeyState.Active && k.Purpose == KeyPurpose.Field);
            Assert.True(ring.TryGetHeld(key.Id, out held!));
        }

        // The ring went with its database: nothing of it is held any more.
        Assert.True(held.Key.IsDisposed);
        Assert.False(KeyRingRegistry.TryResolveForOpening(held.Id, out _));
    }

    [Fact]
    public async Task Two_databases_in_memory_never_share_a_ring()
    {
        await using var first = new SqliteConnection("Data Source=:memory:");
        await using var second = new SqliteConnection("Data Source=:memory:");
        var ids = new HashSet<Guid?>();
        foreach (var connection in new[] { first, second })
        {
            await connection.OpenAsync();
            await using var context = new BankContext(Options(connection));
            await context.Database.EnsureCreatedAsync();
            context.Add(NewCustomer("n"));
            await context.SaveChangesAsync();
            Assert.True(ids.Add(EnvelopeSession.Of(context).Ring.Id));
        }
    }

    [Fact]
    public async Task A_shared_cache_database_serves_contexts_on_connections_of_their_own()
    {
        var text = $"Data Source=efenvelope-{Guid.NewGuid():N};Mode=Memory;Cache=Shared";
        await using var keeper = new SqliteConnection(text);
        await keeper.OpenAsync();
        BankContext New() => new(new DbContextOptionsBuilder().AmongMany().UseSqlite(text).UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms)).Options);
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(NewCustomer("one"));
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(NewCustomer("two"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "card" });
            await context.SaveChangesAsync();
            await transaction.CommitAsync();
        }

        await using var reader = New();
        Assert.Equal(["one", "two"], (await reader.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
        Assert.Equal("card", (await reader.Cards.AsNoTracking().SingleAsync()).Number);
        Assert.Equal(3, (await new EnvelopeKeys(reader).ListAsync()).Count);
    }

    [Fact]
    public async Task A_cold_ring_inside_a_write_transaction_neither_waits_for_itself_nor_leaves_the_transaction()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        database.KeyService = _kms;
        await using (var context = new BankContext(database.Options()))
        {
            await context.Database.EnsureCreatedAsync();
            await using var transaction = await context.Database.BeginTransactionAsync();
            context.Add(new Plain { Text = "the write lock is ours" });
            await context.SaveChangesAsync();
            context.Add(NewCustomer("n"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
            await context.SaveChangesAsync();
            Assert.Equal(0L, Convert.ToInt64(await database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\"")));
            await transaction.CommitAsync();
        }

        Assert.Equal(4L, Convert.ToInt64(await database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeKeys\"")));
        await using var reader = new BankContext(database.Options());
        Assert.Equal("n", (await reader.Customers.SingleAsync()).FullName);
        Assert.Equal("c", (await reader.Cards.SingleAsync()).Number);
    }

    [Fact]
    public async Task A_relative_path_is_one_place_open_or_closed_and_deleting_its_database_drops_the_ring()
    {
        var file = Path.Combine(Path.GetTempPath(), $"efenvelope-{Guid.NewGuid():N}.db");
        var text = $"Data Source={Path.GetRelativePath(Environment.CurrentDirectory, file)}";
        var clock = new FakeTimeProvider();
        BankContext New(TimeProvider time, string connection) => new(new DbContextOptionsBuilder().AmongMany().UseSqlite(connection).UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms).UseTimeProvider(time)).Options);
        try
        {
            await using (var context = New(clock, text))
            {
                await context.Database.EnsureCreatedAsync();
                context.Add(NewCustomer("old"));
                await context.SaveChangesAsync();
                await context.Database.OpenConnectionAsync();
                var calls = _kms.Calls;
                context.Add(NewCustomer("old2"));
                await context.SaveChangesAsync();
                await context.Database.CloseConnectionAsync();
                Assert.Equal(2, (await context.Customers.AsNoTracking().ToListAsync()).Count);
                await using var absolute = New(clock, $"Data Source={file}");
                Assert.Equal(2, (await absolute.Customers.AsNoTracking().ToListAsync()).Count);
                Assert.Equal(calls, _kms.Calls);
                await context.Database.OpenConnectionAsync();
                await context.Database.EnsureDeletedAsync();
            }

            await using (var context = New(clock, text))
            {
                await context.Database.EnsureCreatedAsync();
                await context.Database.OpenConnectionAsync();
                context.Add(NewCustomer("new"));
                await context.SaveChangesAsync();
            }

            await using (var context = New(clock, text))
            {
                context.Add(NewCustomer("newer"));
                await context.SaveChangesAsync();
            }

            await using var cold = New(new FakeTimeProvider(), text);
            Assert.Equal(["new", "newer"], (await cold.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
        }
        finally
        {
            using var pooled = new SqliteConnection(text);
            SqliteConnection.ClearPool(pooled);
            File.Delete(file);
        }
    }

    private static Customer NewCustomer(string name) => new() { TenantId = Tenant, FullName = name, Ssn = "s" };

    private DbContextOptions Options(SqliteConnection connection)
        => new DbContextOptionsBuilder().AmongMany().UseSqlite(connection).UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms)).Options;
}
