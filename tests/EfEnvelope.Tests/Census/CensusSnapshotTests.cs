using System.Collections.Concurrent;
using System.Data;
using EfEnvelope.Census;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using SqliteCommand = Microsoft.Data.Sqlite.SqliteCommand;
using SqliteDataReader = Microsoft.Data.Sqlite.SqliteDataReader;

namespace EfEnvelope.Tests.Census;

/// <summary>A cell that moves from a table that is not counted yet to one that is counted already is counted all the same.</summary>
public sealed class SqliteCensusSnapshotTests() : LifecycleFixture("SQLite")
{
    [Fact]
    public async Task A_cell_that_moves_between_two_tables_is_in_one_of_them()
    {
        await using var context = New();
        await SeedAsync(context, 4, 1);
        var (key, stolen) = await RetireAsync(context);
        var good = await CellAsync("b0");
        await PlantAsync(stolen);
        var moved = false;
        SqliteConnection.BeforeQueries[Database.ConnectionString] = sql =>
        {
            if (sql.Contains("FROM \"Customers\" GROUP BY", StringComparison.Ordinal) && !moved)
            {
                moved = true;
                using var connection = Database.Connect();
                connection.Open();
                using var command = connection.CreateCommand();
                command.CommandText = $"BEGIN; UPDATE \"Cards\" SET \"Number\" = {Blob(stolen)}; UPDATE \"Customers\" SET \"FullName\" = {Blob(good)} WHERE \"Branch\" = 'b0'; COMMIT";
                command.ExecuteNonQuery();
            }
        };
        await using var connection = new SqliteConnection { ConnectionString = Database.ConnectionString };
        await using var watched = new BankContext(new DbContextOptionsBuilder().AmongMany().UseSqlite(connection).UseEnvelopeEncryption(e => e.UseKeyManagementService(Database.KeyService).UseTimeProvider(Database.Time)).Options);
        Assert.Equal(1, (await new EnvelopeKeys(watched).TakeCensusAsync()).CountOf(key.Id));
        Assert.True(moved);
        Assert.Equal(1, (await new EnvelopeKeys(watched).TakeCensusAsync()).CountOf(key.Id));
    }

    /// <summary>Tells of each query before it runs. Connections of EfEnvelope's own are made by the type, and known by its name.</summary>
    private sealed class SqliteConnection : Microsoft.Data.Sqlite.SqliteConnection
    {
        public static readonly ConcurrentDictionary<string, Action<string>> BeforeQueries = new(StringComparer.Ordinal);

        public override SqliteCommand CreateCommand() => new Command { Connection = this, CommandTimeout = DefaultTimeout, Transaction = Transaction };

        private sealed class Command : SqliteCommand
        {
            public override SqliteDataReader ExecuteReader(CommandBehavior behavior)
            {
                if (BeforeQueries.TryGetValue(Connection!.ConnectionString, out var tell))
                {
                    tell(CommandText);
                }

                return base.ExecuteReader(behavior);
            }
        }
    }
}

/// <inheritdoc cref="SqliteCensusSnapshotTests"/>
public sealed class PostgresCensusSnapshotTests() : LifecycleFixture("PostgreSQL")
{
    [Fact]
    public async Task A_cell_that_moves_between_two_tables_is_in_one_of_them()
    {
        await using var context = New();
        await SeedAsync(context, 4, 1);
        var (key, stolen) = await RetireAsync(context);
        var good = await CellAsync("b0");
        await PlantAsync(stolen);
        var census = await CountAsync(
            context,
            () => Database.ExecuteAsync($"UPDATE \"CardsBehind\" SET \"Number\" = {Blob(stolen)}; UPDATE \"Customers\" SET \"FullName\" = {Blob(good)} WHERE \"Branch\" = 'b0'"));

        Assert.Equal("Customers", Assert.Single(census.Entries, e => e.KeyId == key.Id).Table);

        // The cards are counted where they stand too, behind their view.
        Assert.Equal(["Cards", "public.CardsBehind"], (await new EnvelopeKeys(context).TakeCensusAsync()).Entries.Where(e => e.KeyId == key.Id).Select(e => e.Table));
    }

    [Fact]
    public async Task It_takes_as_long_as_it_takes_whatever_limits_the_role_has()
    {
        string[] limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        var limited = new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Options = string.Join(' ', limits.Select(l => $"-c {l}=60000")) }.ConnectionString;
        await using var context = new BankContext(Database.Options(connectionString: limited));
        await using var lease = await RingStoreFactory.Connect(context, null).OpenAsync(default);
        await using (var snapshot = await CensusSnapshot.BeginAsync(lease, ["\"Customers\""], [], default))
        {
            Assert.All(await ReadAsync(), limit => Assert.Equal("0", limit));
        }

        Assert.All(await ReadAsync(), limit => Assert.Equal("1min", limit));

        async Task<string[]> ReadAsync()
        {
            var read = new List<string>();
            foreach (var limit in limits)
            {
                await using var command = lease.Connection.CreateCommand();
                command.CommandText = $"SHOW {limit}";
                read.Add((string)(await command.ExecuteScalarAsync())!);
            }

            return [.. read];
        }
    }

    [Fact]
    public async Task A_table_that_is_written_anew_meanwhile_is_not_empty()
    {
        await using var context = New();
        await SeedAsync(context, 4, 1);
        Task? rewriting = null;
        var census = await CountAsync(
            context,
            async () =>
            {
                // To a snapshot of before, a table that was written anew is an empty one.
                rewriting = Database.ExecuteAsync("ALTER TABLE \"Customers\" ALTER COLUMN \"Branch\" TYPE text USING lower(\"Branch\")");
                while (!rewriting.IsCompleted && await Database.ScalarAsync("SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = '\"Customers\"'::regclass") is not > 0L)
                {
                    await Task.Yield();
                }
            });
        await rewriting!;
        Assert.Equal(4, census.Entries.Where(e => e is { Table: "Customers", Column: "FullName" }).Sum(e => e.Cells));
    }

    /// <summary>Takes a census, and does something when the table of cards is being counted, which comes before that of customers.</summary>
    private async Task<EnvelopeCensus> CountAsync(BankContext context, Func<Task> meanwhile)
    {
        await Database.ExecuteAsync(
            """
            ALTER TABLE "Cards" RENAME TO "CardsBehind";
            CREATE FUNCTION pass() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN true; END';
            CREATE VIEW "Cards" AS SELECT * FROM "CardsBehind" WHERE pass()
            """);
        await using var gate = new NpgsqlConnection(Database.ConnectionString);
        await gate.OpenAsync();
        await RunAsync("SELECT pg_advisory_lock(7)");
        var counting = Task.Run(() => new EnvelopeKeys(context).TakeCensusAsync());
        while (!counting.IsCompleted && await Database.ScalarAsync("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") is not > 0L)
        {
            await Task.Yield();
        }

        Assert.False(counting.IsCompleted);
        await meanwhile();
        await RunAsync("SELECT pg_advisory_unlock(7)");
        return await counting;

        async Task RunAsync(string sql)
        {
            await using var command = new NpgsqlCommand(sql, gate);
            await command.ExecuteNonQueryAsync();
        }
    }
}
