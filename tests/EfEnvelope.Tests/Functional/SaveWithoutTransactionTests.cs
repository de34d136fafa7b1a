using System.Data.Common;
using System.Transactions;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteSaveWithoutTransactionTests() : SaveWithoutTransactionTests("SQLite");

public sealed class PostgresSaveWithoutTransactionTests() : SaveWithoutTransactionTests("PostgreSQL");

/// <summary>With <see cref="AutoTransactionBehavior.Never"/> each batch commits by itself: a row must not without its key.</summary>
public abstract class SaveWithoutTransactionTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 0)]
    public async Task Rows_that_were_committed_before_a_failure_open(bool transaction, int committed)
    {
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
        }

        var failing = new FailingAt(2);
        await using (var context = New(failing))
        {
            context.Database.AutoTransactionBehavior = AutoTransactionBehavior.Never;
            await using var begun = transaction ? await context.Database.BeginTransactionAsync() : null;
            context.AddRange(new Card { Number = "canary one" }, new Card { Number = "canary two" });
            var error = await Assert.ThrowsAsync<DbUpdateException>(() => context.SaveChangesAsync());
            Assert.Equal(FailingAt.Message, error.InnerException?.Message);
        }

        Assert.Equal(2, failing.Seen);
        await using var reader = New();
        Assert.Equal(committed, (await reader.Set<Card>().AsNoTracking().ToListAsync()).Count(c => c.Number.StartsWith("canary ", StringComparison.Ordinal)));
    }

    /// <summary>SQLite's driver takes part in no ambient transaction, PostgreSQL's in none with Enlist=false: EF begins no transaction beside it, or begins its own.</summary>
    [Fact]
    public async Task Rows_that_were_committed_beside_an_ambient_transaction_which_the_connection_is_not_in_open()
    {
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
        }

        using (new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var context = New(new FailingAt(2));
            context.Database.AutoTransactionBehavior = provider == "SQLite" ? AutoTransactionBehavior.WhenNeeded : AutoTransactionBehavior.Never;
            context.AddRange(new Card { Number = "canary one" }, new Card { Number = "canary two" });
            Assert.Equal(FailingAt.Message, (await Assert.ThrowsAsync<DbUpdateException>(() => context.SaveChangesAsync())).InnerException?.Message);
        }

        await using var reader = New();
        Assert.StartsWith("canary ", (await reader.Set<Card>().AsNoTracking().SingleAsync()).Number, StringComparison.Ordinal);
    }

    private AdHocContext New(params IInterceptor[] interceptors)
        => new(
            _database.Options(
                more: builder => AdHocContext.Cached(Batched(builder).AddInterceptors(interceptors).ConfigureWarnings(w => w.Ignore(RelationalEventId.AmbientTransactionWarning))),
                connectionString: provider == "SQLite" ? null : _database.ConnectionString + ";Enlist=false"),
            Model);

    private DbContextOptionsBuilder Batched(DbContextOptionsBuilder builder)
    {
        if (provider == "PostgreSQL")
        {
            builder.UseNpgsql(options => options.MaxBatchSize(1));
        }
        else
        {
            builder.UseSqlite(options => options.MaxBatchSize(1));
        }

        return builder;
    }

    private static void Model(ModelBuilder m)
    {
        m.Entity<Card>().HasDataKeyPerRow();
        m.UseEnvelopeEncryption();
    }

    private sealed class Card
    {
        public int Id { get; set; }

        [Encrypted]
        public required string Number { get; set; }
    }

    private sealed class FailingAt(int number) : DbCommandInterceptor
    {
        public const string Message = "The connection is gone.";

        public int Seen { get; private set; }

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            Count(eventData);
            return new(result);
        }

        public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
        {
            Count(eventData);
            return new(result);
        }

        private void Count(CommandEventData eventData)
        {
            if (eventData.CommandSource == CommandSource.SaveChanges && ++Seen == number)
            {
                throw new InvalidOperationException(Message);
            }
        }
    }
}
