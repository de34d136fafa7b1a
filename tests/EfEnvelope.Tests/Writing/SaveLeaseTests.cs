using System.Data.Common;
using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace EfEnvelope.Tests.Writing;

public sealed class SqliteSaveLeaseTests() : SaveLeaseTests("SQLite")
{
    [Fact]
    public async Task A_read_transaction_that_sees_the_ring_as_it_was_confirms_nothing_for_others()
    {
        await using var writer = New();
        await SeedAsync(writer, 1, 0);
        await using var reader = New();
        await using var connection = (SqliteConnection)reader.Database.GetDbConnection();
        await connection.OpenAsync();
        await using var transaction = connection.BeginTransaction(deferred: true);
        await reader.Database.UseTransactionAsync(transaction);
        Assert.Equal("Name 0", (await ReadAsync(reader)).FullName);
        await RotateElsewhereAsync();
        Database.Time.Advance(PastLease);
        Assert.Equal("Name 0", (await ReadAsync(reader)).FullName);
        await SaveAsync(writer, "new");
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("new"));
        Assert.Equal("Name 0", (await ReadAsync(reader)).FullName);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_of_one_statement_asks_when_it_has_the_write_lock(bool sync)
    {
        var point = new SendingPoint();
        await using var writer = New(point);
        await SeedAsync(writer, 1, 0);
        await RotateElsewhereAsync();
        await using var holder = Database.Connect();
        await holder.OpenAsync();
        var held = await holder.BeginTransactionAsync();
        Add(writer, "w0");
        point.Reach = async () =>
        {
            // The save waits for the lock until its lease is over.
            Database.Time.Advance(PastLease);
            await held.DisposeAsync();
        };
        await AssertRefusedAsync(writer, sync);
        Assert.Equal(1L, await RowsAsync());
        Assert.Equal(AutoTransactionBehavior.WhenNeeded, writer.Database.AutoTransactionBehavior);
        Assert.Equal(1, await writer.SaveChangesAsync());
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("w0"));
        Assert.Equal(AutoTransactionBehavior.WhenNeeded, writer.Database.AutoTransactionBehavior);
    }

    [Fact]
    public async Task A_deferred_transaction_that_chose_its_keys_before_a_rotation_cannot_write_after_it()
    {
        await using var writer = new BankContext(Database.Options(connectionString: Database.ConnectionString + ";Default Timeout=1"));
        await SeedAsync(writer, 1, 0);
        await using var connection = (SqliteConnection)writer.Database.GetDbConnection();
        await connection.OpenAsync();
        await using var transaction = connection.BeginTransaction(deferred: true);
        await writer.Database.UseTransactionAsync(transaction);
        Assert.Equal("Name 0", (await ReadAsync(writer)).FullName);
        await RotateElsewhereAsync();
        var error = Assert.IsType<SqliteException>((await Assert.ThrowsAsync<DbUpdateException>(() => SaveAsync(writer, "w0"))).InnerException);
        Assert.Equal(SQLitePCL.raw.SQLITE_BUSY, error.SqliteErrorCode);
    }
}

public sealed class PostgresSaveLeaseTests() : SaveLeaseTests("PostgreSQL")
{
    [Theory]
    [InlineData(1, false)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public async Task A_save_that_waited_behind_the_question_is_rolled_back(int rows, bool sync)
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var writer = New(point);
        await SeedAsync(writer, 1, 0);

        // A single statement has a transaction in the lease's second half.
        Database.Time.Advance(PastLease / 2);
        for (var i = 0; i < rows; i++)
        {
            Add(writer, $"w{i}");
        }

        point.Reach = RetireElsewhereAsync;
        await AssertRefusedAsync(writer, sync);
        Assert.Equal(1L, await RowsAsync());
        Assert.Equal(rows, await writer.SaveChangesAsync());
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("w0"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_that_waited_behind_the_question_is_undone_in_the_callers_transaction_which_goes_on(bool sync)
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var writer = New(point);
        await SeedAsync(writer, 1, 0);
        await using var transaction = await writer.Database.BeginTransactionAsync();
        Add(writer, "w0");
        point.Reach = RetireElsewhereAsync;
        await AssertRefusedAsync(writer, sync);
        await writer.SaveChangesAsync();
        await transaction.CommitAsync();
        Assert.Equal(2L, await RowsAsync());
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("w0"));
    }

    [Fact]
    public async Task A_save_that_waited_behind_the_question_and_has_no_savepoint_takes_the_callers_transaction_with_it()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var writer = New(point);
        writer.Database.AutoSavepointsEnabled = false;
        await SeedAsync(writer, 1, 0);
        await using var transaction = await writer.Database.BeginTransactionAsync();
        Add(writer, "w0");
        point.Reach = RetireElsewhereAsync;
        var error = Assert.IsType<KeyUnavailableException>((await Assert.ThrowsAsync<DbUpdateException>(() => writer.SaveChangesAsync())).InnerException);
        Assert.Contains("was aborted", error.Message, StringComparison.Ordinal);
        await AssertAbortedAsync(writer);
        await transaction.CommitAsync();
        Assert.Equal(1L, await RowsAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_whose_question_has_no_answer_when_it_was_sent_is_not_committed(bool hasSavepoint)
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var writer = New(point);
        writer.Database.AutoSavepointsEnabled = hasSavepoint;
        await SeedAsync(writer, 1, 0);
        await using var transaction = await writer.Database.BeginTransactionAsync();
        Add(writer, "w0");
        point.Reach = async () =>
        {
            await RetireElsewhereAsync();
            await Database.ExecuteAsync("ALTER TABLE \"EnvelopeRing\" RENAME TO \"Away\"");
        };
        Assert.IsType<EnvelopeConfigurationException>((await Assert.ThrowsAsync<DbUpdateException>(() => writer.SaveChangesAsync())).InnerException);
        await Database.ExecuteAsync("ALTER TABLE \"Away\" RENAME TO \"EnvelopeRing\"");
        await transaction.CommitAsync();
        Assert.Equal(1L, await RowsAsync());
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_save_runs_in_a_transaction_of_the_connection_that_EF_does_not_know(bool sync, bool isLate)
    {
        await using var writer = New();
        await SeedAsync(writer, 1, 0);
        await writer.Database.OpenConnectionAsync();
        await using (var transaction = await ((NpgsqlConnection)writer.Database.GetDbConnection()).BeginTransactionAsync())
        {
            Database.Time.Advance(isLate ? HalfLease : TimeSpan.Zero);
            Add(writer, "w0");
            Assert.Equal(1, sync ? writer.SaveChanges() : await writer.SaveChangesAsync());
            await transaction.RollbackAsync();
        }

        Assert.Equal(1L, await RowsAsync());
        Add(writer, "w1");
        Assert.Equal(1, sync ? writer.SaveChanges() : await writer.SaveChangesAsync());
        await writer.Database.CloseConnectionAsync();
        Assert.Equal(2L, await RowsAsync());
    }

    [Fact]
    public async Task A_save_in_a_transaction_that_EF_does_not_know_that_waited_behind_the_question_is_not_committed_with_it()
    {
        var point = new SendingPoint { IsOfTransactions = false };
        await using var writer = New(point);
        await SeedAsync(writer, 1, 0);
        Database.Time.Advance(HalfLease);
        await writer.Database.OpenConnectionAsync();
        await writer.Database.ExecuteSqlRawAsync("BEGIN");
        Add(writer, "w0");
        point.Reach = RetireElsewhereAsync;
        Assert.IsType<KeyUnavailableException>((await Assert.ThrowsAsync<DbUpdateException>(() => writer.SaveChangesAsync())).InnerException);
        await AssertAbortedAsync(writer);
        await writer.Database.ExecuteSqlRawAsync("COMMIT");
        await writer.Database.CloseConnectionAsync();
        Assert.Equal(1L, await RowsAsync());
    }

    /// <summary>A synchronous save opens the connection before it chooses its keys.</summary>
    [Fact]
    public async Task A_save_of_one_statement_that_waited_for_its_connection_for_half_a_lease_asks_anew()
    {
        var opening = new ConnectionPoint();
        await using var source = opening.Build(Database.ConnectionString);
        await using var writer = new BankContext(Database.Options(e => e.With(o => o with { MaxCachedKeys = 1000 + 'a' }), o => o.UseNpgsql(source)));
        await SeedAsync(writer, 1, 0);
        Add(writer, "w0");
        opening.Reach = async () =>
        {
            await RotateElsewhereAsync();
            Database.Time.Advance(HalfLease);
        };
        await AssertRefusedAsync(writer);
        Assert.Equal(1L, await RowsAsync());
        Assert.Equal(1, await writer.SaveChangesAsync());
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("w0"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_row_that_an_open_transaction_made_under_a_kek_that_was_retired_since_is_refused_for_what_it_is(bool compromised)
    {
        await using var writer = New();
        await SeedAsync(writer, 0, 1);
        await using var transaction = await writer.Database.BeginTransactionAsync();
        var card = new PaymentCard { TenantId = TenantA, Label = "new", Number = "4111" };
        writer.Add(card);
        await writer.SaveChangesAsync();
        await using (var other = New("b"))
        {
            await (compromised ? new EnvelopeKeys(other).ReportCompromisedAsync(ScopeA, "stolen") : (Task)new EnvelopeKeys(other).RotateAsync(ScopeA));
        }

        Database.Time.Advance(PastLease);
        card.Number = "4222";
        Assert.Contains("begin it again", (await Assert.ThrowsAsync<KeyUnavailableException>(() => writer.SaveChangesAsync())).Message, StringComparison.Ordinal);
        await transaction.CommitAsync();
        await writer.SaveChangesAsync();
        await using var reader = New("c");
        Assert.Equal("4222", (await reader.Set<PaymentCard>().AsNoTracking().SingleAsync(c => c.Label == "new")).Number);
    }

    private static async Task AssertAbortedAsync(BankContext context)
        => Assert.Equal(PostgresErrorCodes.InFailedSqlTransaction, (await Assert.ThrowsAsync<PostgresException>(() => context.Database.ExecuteSqlRawAsync("SELECT 1"))).SqlState);

    /// <summary>Reached once, while a connection of the context's is made. No interceptor: where there is one, the connection is opened before keys are chosen.</summary>
    private sealed class ConnectionPoint
    {
        public Func<Task>? Reach { get; set; }

        public NpgsqlDataSource Build(string connectionString)
            => new NpgsqlDataSourceBuilder(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false }.ConnectionString)
                .UsePhysicalConnectionInitializer(_ => Task.Run(ReachAsync).GetAwaiter().GetResult(), _ => ReachAsync()).Build();

        private async Task ReachAsync()
        {
            if (Reach is { } reach)
            {
                Reach = null;
                await reach();
            }
        }
    }
}

/// <summary>A save stands on the confirmation that its keys were chosen under, and asks again where that is a lease ago when it writes.</summary>
public abstract class SaveLeaseTests(string provider) : LeaseFixture(provider)
{
    [Fact]
    public async Task A_key_that_is_confirmed_to_be_retired_while_a_save_is_prepared_has_no_second_lease()
    {
        var kms = new ScriptedKeyService(Database.KeyService);
        Database.KeyService = kms;
        var point = new SendingPoint();
        await using var writer = New(point);
        await SeedAsync(writer, 0, 1);
        var old = await KeyAsync(writer, ScopeA.Value, purpose: KeyPurpose.Kek);
        kms.GenerateGate = async () =>
        {
            // The row's key is made by now, under the old kek; what the background's confirmation would find out comes before the rest of the keys.
            kms.GenerateGate = null;
            await RotateElsewhereAsync();
            Database.Time.Advance(PastLease - TimeSpan.FromSeconds(3));
            var session = EnvelopeSession.Of(writer);
            await session.Ring.ConfirmAsync(session.OpenStore(), default);
        };
        point.Reach = () =>
        {
            Database.Time.Advance(TimeSpan.FromSeconds(3));
            return Task.CompletedTask;
        };
        writer.Add(new PaymentCard { TenantId = TenantA, Label = "new", Number = "4111" });
        writer.Add(new Customer { TenantId = TenantB, Branch = "new", FullName = "n", Ssn = "s" });
        await AssertRefusedAsync(writer);
        Assert.Equal(1L, await KeysUnderAsync(old.Id));
        await writer.SaveChangesAsync();
        Assert.Equal(1L, await KeysUnderAsync(old.Id));
        Assert.Equal(1L, await KeysUnderAsync((await KeyAsync(writer, ScopeA.Value, 2, KeyPurpose.Kek)).Id));
    }

    [Fact]
    public async Task A_save_that_waited_longer_than_the_lease_asks_in_its_own_transaction()
    {
        var point = new SendingPoint();
        await using var writer = New(point);
        await SeedAsync(writer, 1, 0);
        point.Reach = RetireElsewhereAsync;
        Add(writer, "w0");
        Add(writer, "w1");
        await AssertRefusedAsync(writer);
        Assert.Equal(1L, await RowsAsync());
        await writer.SaveChangesAsync();
        Assert.Equal((await KeyAsync(writer, ScopeA.Value, 2)).Id, await KeyOfCellAsync("w1"));
    }

    protected static async Task AssertRefusedAsync(BankContext writer, bool sync = false)
    {
        var failed = sync ? Assert.Throws<DbUpdateException>(() => writer.SaveChanges()) : await Assert.ThrowsAsync<DbUpdateException>(() => writer.SaveChangesAsync());
        var error = Assert.IsType<KeyUnavailableException>(failed.InnerException);
        Assert.Contains("Nothing was written", error.Message, StringComparison.Ordinal);
    }

    protected static void Add(BankContext context, string branch) => context.Add(new Customer { TenantId = TenantA, Branch = branch, FullName = "n", Ssn = "s" });

    protected static Task SaveAsync(BankContext context, string branch)
    {
        Add(context, branch);
        return context.SaveChangesAsync();
    }

    protected async Task<long> RowsAsync() => Convert.ToInt64(await Database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\""), null);

    private async Task<long> KeysUnderAsync(Guid kek)
        => Convert.ToInt64(await Database.ScalarAsync($"SELECT COUNT(*) FROM \"EnvelopeKeys\" WHERE {IdIs(kek).Replace("\"Id\"", "\"KekId\"", StringComparison.Ordinal)}"), null);
}
