using System.Data;
using System.Data.Common;
using System.Transactions;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace EfEnvelope.Tests.Writing;

public sealed class SqliteStatementLeaseTests() : StatementLeaseTests("SQLite");

public sealed class PostgresStatementLeaseTests() : StatementLeaseTests("PostgreSQL")
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_statement_that_waited_behind_the_question_is_rolled_back(bool sync)
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        point.Reach = RetireElsewhereAsync;
        var error = sync ? Assert.Throws<KeyUnavailableException>(() => Rename(context)) : await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context));
        Assert.Contains("nothing was written", error.Message, StringComparison.Ordinal);
        Assert.Null(context.Database.CurrentTransaction);
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(1, await RenameAsync(context));
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 2)).Id, await KeyOfCellAsync("b0"));
    }

    [Fact]
    public async Task A_transaction_of_the_callers_whose_statement_waited_behind_the_question_lets_nothing_follow_and_writes_nothing()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        await using var transaction = await context.Database.BeginTransactionAsync();
        point.Reach = RetireElsewhereAsync;
        await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context));
        await AssertAbortedAsync(context);
        await transaction.CommitAsync();
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
    }

    [Fact]
    public async Task A_transaction_of_the_callers_goes_on_where_the_lease_was_half_over_when_the_statement_was_sent()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 2, 0);
        Database.Time.Advance(HalfLease);
        await using var transaction = await context.Database.BeginTransactionAsync();
        await context.Customers.Where(c => c.Branch == "b1").ExecuteUpdateAsync(s => s.SetProperty(c => c.Branch, "before"));
        point.Reach = RetireElsewhereAsync;
        var error = await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context));
        Assert.Contains("its transaction goes on", error.Message, StringComparison.Ordinal);
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(1, await RenameAsync(context));
        await transaction.CommitAsync();
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 2)).Id, await KeyOfCellAsync("b0"));
        Assert.Equal("Name 1", (await ReadAsync(context, "before")).FullName);
    }

    [Fact]
    public async Task An_ambient_transaction_that_the_connection_is_not_in_is_left_alone()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = new BankContext(Database.Options(e => e.With(o => o with { MaxCachedKeys = 1000 + 'a' }), o => o.AddInterceptors(point), Database.ConnectionString + ";Enlist=false"));
        await SeedAsync(context, 1, 0);
        Database.Time.Advance(HalfLease);
        using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
        point.Reach = RetireElsewhereAsync;
        Assert.Contains("rolled back", (await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context))).Message, StringComparison.Ordinal);
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(TransactionStatus.Active, Transaction.Current!.TransactionInformation.Status);
        Assert.Equal(1, await RenameAsync(context));
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 2)).Id, await KeyOfCellAsync("b0"));
    }

    [Fact]
    public async Task A_statement_of_the_callers_transaction_whose_question_has_no_answer_is_not_committed()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        await using var transaction = await context.Database.BeginTransactionAsync();
        point.Reach = async () =>
        {
            await RetireElsewhereAsync();
            await Database.ExecuteAsync("ALTER TABLE \"EnvelopeRing\" RENAME TO \"Away\"");
        };
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => RenameAsync(context));
        await Database.ExecuteAsync("ALTER TABLE \"Away\" RENAME TO \"EnvelopeRing\"");
        await AssertAbortedAsync(context);
        await transaction.CommitAsync();
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_statement_runs_in_a_transaction_of_the_connection_that_EF_does_not_know(bool sync, bool isLate)
    {
        await using var context = New();
        await SeedAsync(context, 1, 0);
        var connection = (NpgsqlConnection)context.Database.GetDbConnection();
        await context.Database.OpenConnectionAsync();
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            Database.Time.Advance(isLate ? HalfLease : TimeSpan.Zero);
            Assert.Equal(1, sync ? Rename(context) : await RenameAsync(context));
            Assert.Equal("canary", (await ReadAsync(context)).FullName);
            await transaction.RollbackAsync();
        }

        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(1, await RenameAsync(context));
        await context.Database.CloseConnectionAsync();
        Assert.Equal(ConnectionState.Closed, connection.State);
        Assert.Equal("canary", (await ReadAsync(context)).FullName);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_transaction_that_EF_does_not_know_and_whose_statement_waited_behind_the_question_does_not_commit_it(bool isLate)
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        Database.Time.Advance(isLate ? HalfLease : TimeSpan.Zero);
        await context.Database.OpenConnectionAsync();
        await context.Database.ExecuteSqlRawAsync("BEGIN");
        point.Reach = RetireElsewhereAsync;
        await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context));
        if (!isLate)
        {
            await AssertAbortedAsync(context);
        }

        await context.Database.ExecuteSqlRawAsync("COMMIT");
        await context.Database.CloseConnectionAsync();
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
    }

    private static async Task AssertAbortedAsync(BankContext context)
        => Assert.Equal(PostgresErrorCodes.InFailedSqlTransaction, (await Assert.ThrowsAsync<PostgresException>(() => context.Customers.Where(c => c.Branch == "b0").ExecuteUpdateAsync(s => s.SetProperty(c => c.Branch, "later")))).SqlState);

    [Fact]
    public async Task A_transaction_scope_whose_statement_waited_behind_the_question_is_rolled_back()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
        point.Reach = async () =>
        {
            using var outside = new TransactionScope(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled);
            await RetireElsewhereAsync();
        };
        await Assert.ThrowsAsync<KeyUnavailableException>(() => RenameAsync(context));
        scope.Complete();
        Assert.Throws<TransactionAbortedException>(scope.Dispose);
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
    }
}

/// <summary>ExecuteUpdate asks as a save does whether its keys may still seal, in a transaction of its own where none is open.</summary>
public abstract class StatementLeaseTests(string provider) : LeaseFixture(provider)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_statement_that_waited_longer_than_the_lease_is_sealed_with_the_successor(bool sync)
    {
        var point = new SendingPoint();
        await using var context = New(point);
        await SeedAsync(context, 1, 0);
        point.Reach = RetireElsewhereAsync;
        Assert.Equal(1, sync ? Rename(context) : await RenameAsync(context));
        Assert.Null(point.Reach);
        Assert.Null(context.Database.CurrentTransaction);
        Assert.Equal((await KeyAsync(context, ScopeA.Value, 2)).Id, await KeyOfCellAsync("b0"));
        Assert.Equal("canary", (await ReadAsync(context)).FullName);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_statement_that_fails_leaves_no_transaction_open(bool sync)
    {
        await using var context = New();
        await SeedAsync(context, 1, 0);
        var rows = context.Customers.Where(c => c.TenantId == TenantA);
        if (sync)
        {
            Assert.ThrowsAny<DbException>(() => rows.ExecuteUpdate(s => s.SetProperty(c => c.FullName, "x").SetProperty(c => c.Branch, (string)null!)));
        }
        else
        {
            await Assert.ThrowsAnyAsync<DbException>(() => rows.ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, "x").SetProperty(c => c.Branch, (string)null!)));
        }

        Assert.Null(context.Database.CurrentTransaction);
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        await using var transaction = await context.Database.BeginTransactionAsync();
        Assert.Equal(1, await RenameAsync(context));
        Assert.Same(transaction, context.Database.CurrentTransaction);
        await transaction.RollbackAsync();
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(1, await RenameAsync(context));
        Assert.Equal("canary", (await ReadAsync(context)).FullName);
    }

    protected static int Rename(BankContext context) => context.Customers.Where(c => c.TenantId == TenantA).ExecuteUpdate(s => s.SetProperty(c => c.FullName, "canary"));

    protected static Task<int> RenameAsync(BankContext context) => context.Customers.Where(c => c.TenantId == TenantA).ExecuteUpdateAsync(s => s.SetProperty(c => c.FullName, "canary"));
}
