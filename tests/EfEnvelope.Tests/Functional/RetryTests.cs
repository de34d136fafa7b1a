using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteRetryTests() : RetryTests("SQLite");

public sealed class PostgresRetryTests() : RetryTests("PostgreSQL");

/// <summary>A retrying execution strategy, and a connection that fails after a statement of a save or in the middle of a query: each row is there once, under its own key.</summary>
public abstract class RetryTests(string provider) : OwnerTests(provider)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_that_fails_half_way_is_repeated_and_its_rows_are_there_once(bool sync)
    {
        // Children of rows that are there: EF itself gives those of a new row a temporary key in the second attempt, on a provider that sends one statement at a time.
        await SaveAsync(TenantA, "a", chips: 0);
        await SaveAsync(TenantB, "b", chips: 0);
        await ColdAsync();
        var fault = new Fault("Chips");
        await using (var context = New(fault))
        {
            foreach (var owner in await context.Owners.ToListAsync())
            {
                owner.Chips.AddRange(NewOwner(owner.TenantId, owner.Code).Chips);
            }

            context.Add(NewOwner(TenantB, "c", chips: 0));
            await ColdAsync();
            fault.Left = 2;
            Assert.Equal(5, sync ? context.SaveChanges() : await context.SaveChangesAsync());
            Assert.Equal(0, fault.Left);
            Assert.Equal(0, await context.SaveChangesAsync());
        }

        await AssertStoredAsync(("a", "canary a", ["canary a/0", "canary a/1"]), ("b", "canary b", ["canary b/0", "canary b/1"]), ("c", "canary c", []));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_update_that_fails_half_way_is_repeated(bool sync)
    {
        await SaveAsync(TenantA, "a");
        var fault = new Fault("Chips");
        await using (var context = New(fault))
        {
            var owner = await context.Owners.Include(o => o.Chips.OrderBy(c => c.Label)).SingleAsync();
            (owner.Name, owner.Chips[0].Serial) = ("canary changed", "canary chip");
            fault.Left = 1;
            Assert.Equal(2, sync ? context.SaveChanges() : await context.SaveChangesAsync());
        }

        Assert.Equal(0, fault.Left);
        await AssertStoredAsync(("a", "canary changed", ["canary chip", "canary a/1"]));
    }

    [Fact]
    public async Task A_transaction_of_the_users_in_the_strategy_is_repeated_whole()
    {
        var fault = new Fault("Deeds");
        await using (var context = New(fault))
        {
            fault.Left = 1;
            var attempts = 0;
            await context.Database.CreateExecutionStrategy().ExecuteAsync(async () =>
            {
                attempts++;
                context.ChangeTracker.Clear();
                await using var transaction = await context.Database.BeginTransactionAsync();
                var owner = NewOwner(TenantA, "a");
                context.Add(owner);
                await context.SaveChangesAsync();
                owner.Chips[0].Serial = $"canary attempt {attempts}";
                context.Add(new Deed { Owner = owner, Text = "canary deed" });
                await context.SaveChangesAsync();
                await transaction.CommitAsync();
            });
            Assert.Equal((2, 0), (attempts, fault.Left));
        }

        await AssertStoredAsync(("a", "canary a", ["canary attempt 2", "canary a/1"]));
        await using var reader = New();
        Assert.Equal("canary deed", (await reader.Deeds.SingleAsync()).Text);
    }

    /// <summary>EF's documented pattern for a commit of unknown outcome: changes are accepted only once it is known.</summary>
    [Fact]
    public async Task Changes_that_are_accepted_after_the_transaction_are_repeated_with_their_row_ids()
    {
        await SaveAsync(TenantA, "a", chips: 0);
        var fault = new Fault("Chips");
        await using (var context = New(fault))
        {
            (await context.Owners.SingleAsync()).Chips.AddRange(NewOwner(TenantA, "a").Chips);
            fault.Left = 1;
            await context.Database.CreateExecutionStrategy().ExecuteInTransactionAsync(
                context,
                static (c, token) => c.SaveChangesAsync(acceptAllChangesOnSuccess: false, token),
                static (c, token) => c.Chips.AsNoTracking().AnyAsync(x => x.Label == "a/0", token));
            context.ChangeTracker.AcceptAllChanges();
            Assert.Equal((0, 0), (fault.Left, await context.SaveChangesAsync()));
        }

        await AssertStoredAsync(("a", "canary a", ["canary a/0", "canary a/1"]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_query_is_repeated_and_buffered(bool sync)
    {
        await SaveAsync(TenantA, "a");
        await SaveAsync(TenantB, "b");
        await ColdAsync();
        var fault = new Fault("Chips");
        await using var context = New(fault);
        fault.Left = 1;
        var query = context.Chips.AsNoTracking().OrderBy(c => c.Label);
        var chips = sync ? query.ToList() : await query.ToListAsync();
        Assert.Equal(["canary a/0", "canary a/1", "canary b/0", "canary b/1"], chips.Select(c => c.Serial));
        Assert.Equal(0, fault.Left);
        await ColdAsync();
        Assert.Equal(["canary a", "canary b"], await context.Owners.Include(o => o.Chips).AsSplitQuery().OrderBy(o => o.Code).Select(o => o.Name).ToListAsync());
    }

    private OwnerContext New(Fault fault) => New(o =>
    {
        o.AddInterceptors(fault);
        if (Provider == "SQLite")
        {
            o.UseSqlite(Database.ConnectionString, s => s.ExecutionStrategy(d => new RetryingStrategy(d)));
        }
        else
        {
            o.UseNpgsql(Database.ConnectionString, n => n.EnableRetryOnFailure());
        }
    });

    /// <summary>What a provider without a strategy of its own is given by its user.</summary>
    private sealed class RetryingStrategy(ExecutionStrategyDependencies dependencies) : ExecutionStrategy(dependencies, maxRetryCount: 3, maxRetryDelay: TimeSpan.FromMilliseconds(1))
    {
        protected override bool ShouldRetryOn(Exception exception) => exception is NpgsqlException { IsTransient: true };
    }

    /// <summary>Fails behind commands that mention a table: the database has done them, and the connection is lost.</summary>
    private sealed class Fault(string table) : DbCommandInterceptor
    {
        public int Left { get; set; }

        public override DbDataReader ReaderExecuted(DbCommand command, CommandExecutedEventData eventData, DbDataReader result)
        {
            Strike(command, result);
            return result;
        }

        public override async ValueTask<DbDataReader> ReaderExecutedAsync(DbCommand command, CommandExecutedEventData eventData, DbDataReader result, CancellationToken cancellationToken = default)
        {
            await Task.CompletedTask;
            Strike(command, result);
            return result;
        }

        public override int NonQueryExecuted(DbCommand command, CommandExecutedEventData eventData, int result)
        {
            Strike(command, null);
            return result;
        }

        public override ValueTask<int> NonQueryExecutedAsync(DbCommand command, CommandExecutedEventData eventData, int result, CancellationToken cancellationToken = default)
        {
            Strike(command, null);
            return new(result);
        }

        private void Strike(DbCommand command, DbDataReader? reader)
        {
            if (Left > 0 && command.CommandText.Contains($"\"{table}\"", StringComparison.Ordinal))
            {
                Left--;
                reader?.Dispose();
                throw new NpgsqlException("the connection was lost", new TimeoutException());
            }
        }
    }
}
