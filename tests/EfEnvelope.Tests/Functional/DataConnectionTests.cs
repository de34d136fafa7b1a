using System.Data.Common;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteDataConnectionTests() : DataConnectionTests("SQLite")
{
    [Fact]
    public async Task A_lock_that_a_transaction_runs_into_while_it_makes_keys_is_the_databases_own_error()
    {
        await SaveAsync(TenantA, "a", chips: 0);
        await using var other = new SqliteConnection(Database.ConnectionString);
        await using var connection = new SqliteConnection(Database.ConnectionString + ";Default Timeout=1");
        await other.OpenAsync();
        await connection.OpenAsync();
        await using var transaction = connection.BeginTransaction(deferred: true);
        await using var context = New(o => o.UseSqlite(connection));
        await context.Database.UseTransactionAsync(transaction);
        await using (var locked = other.BeginTransaction())
        {
            context.Add(NewOwner(TenantB, "b", chips: 0));
            Assert.Equal(5, (await Assert.ThrowsAsync<SqliteException>(() => context.SaveChangesAsync())).SqliteErrorCode);
        }

        await context.SaveChangesAsync();
        await transaction.CommitAsync();
        await AssertStoredAsync(("a", "canary a", []), ("b", "canary b", []));
    }
}

public sealed class PostgresDataConnectionTests() : DataConnectionTests("PostgreSQL")
{
    /// <summary>The first thing that a save asks is which keys its replaced rows have: on the data's connection, whose failures are the execution strategy's to judge.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_connection_that_is_lost_before_a_save_asks_for_its_keys_is_made_again_by_the_execution_strategy(bool sync)
    {
        await SaveAsync(TenantA, "a", chips: 1);
        await using (var context = New(o => o.UseNpgsql(Database.ConnectionString, n => n.EnableRetryOnFailure(3, TimeSpan.FromMilliseconds(1), null))))
        {
            await context.Database.OpenConnectionAsync();
            await ReplaceAsync(context, "canary again");
            var lost = ((NpgsqlConnection)context.Database.GetDbConnection()).ProcessID;
            await Database.ScalarAsync($"SELECT pg_terminate_backend({lost}, 5000)");
            Assert.Equal(1, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary a", ["canary again"]));
    }

    /// <summary>Only the context that made a row's key knows it before it is committed.</summary>
    [Fact]
    public async Task A_row_that_another_context_of_the_transaction_made_is_refused_with_what_to_do()
    {
        var owner = await SaveAsync(TenantA, "a", chips: 0);
        await using (var connection = new NpgsqlConnection(Database.ConnectionString))
        {
            await connection.OpenAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await using var one = New(o => o.UseNpgsql(connection));
            await one.Database.UseTransactionAsync(transaction);
            var chip = new Chip { OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary one" };
            one.Add(chip);
            await one.SaveChangesAsync();
            foreach (var replaced in new[] { false, true })
            {
                await using var two = New(o => o.UseNpgsql(connection));
                await two.Database.UseTransactionAsync(transaction);
                var stub = new Chip { Id = chip.Id, OwnerId = owner.Id, TenantId = TenantA, Serial = "?" };
                if (replaced)
                {
                    two.Remove(stub);
                    two.Add(new Chip { Id = chip.Id, OwnerId = owner.Id, TenantId = TenantA, Label = "a/0", Serial = "canary two" });
                }
                else
                {
                    two.Attach(stub).Property(c => c.Serial).CurrentValue = "canary two";
                }

                AssertSaysWhatToDo(await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => two.SaveChangesAsync()));
                AssertSaysWhatToDo(await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => two.Chips.AsNoTracking().ToListAsync()));
            }

            await transaction.CommitAsync();
        }

        await AssertStoredAsync(("a", "canary a", ["canary one"]));

        static void AssertSaysWhatToDo(KeyNotFoundInRingException error)
        {
            Assert.Contains("another context of the same open transaction", error.Message, StringComparison.Ordinal);
            Assert.Contains("commit", error.Message, StringComparison.Ordinal);
        }
    }
}

/// <summary>What EfEnvelope asks on the connection of the data: its errors are the data's, and it is opened for nothing else.</summary>
public abstract class DataConnectionTests(string provider) : OwnerTests(provider)
{
    [Fact]
    public async Task The_datas_connection_is_not_opened_to_ask_a_ring_in_a_database_of_its_own()
    {
        await using var ring = await TestDatabase.CreateAsync(Provider);
        var opened = new Opened();
        OwnerContext Context() => new(Database.Options(e => e.UseKeyRing(ring.Connect), o => o.AddInterceptors(opened)));
        await using (var context = new OwnerContext(ring.Options()))
        {
            await context.Database.EnsureCreatedAsync();
        }

        await using (var context = Context())
        {
            context.Add(NewOwner(TenantA, "a", chips: 1));
            await context.SaveChangesAsync();
        }

        await using (var context = Context())
        {
            await ReplaceAsync(context, "canary again");
            opened.Count = 0;
            await context.SaveChangesAsync();
        }

        Assert.Equal(1, opened.Count);
        await using var reader = Context();
        Assert.Equal("canary again", (await reader.Chips.SingleAsync()).Serial);
    }

    protected static async Task ReplaceAsync(OwnerContext context, string serial)
    {
        var chip = await context.Chips.SingleAsync();
        context.Remove(chip);
        context.Add(new Chip { Id = chip.Id, OwnerId = chip.OwnerId, TenantId = chip.TenantId, Label = chip.Label, Serial = serial });
    }

    private sealed class Opened : DbConnectionInterceptor
    {
        public int Count { get; set; }

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
        {
            Count++;
            return new(result);
        }
    }
}
