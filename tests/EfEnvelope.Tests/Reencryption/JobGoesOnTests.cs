using EfEnvelope.Cryptography;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteJobGoesOnTests() : JobGoesOnTests("SQLite");

public sealed class PostgresJobGoesOnTests() : JobGoesOnTests("PostgreSQL");

/// <summary>A job ends, and ends with the right figures, whatever stands in its way.</summary>
public abstract partial class JobGoesOnTests(string provider) : IAsyncLifetime
{
    private static readonly ReencryptionOptions Small = new() { BatchSize = 10, UnitSize = 100, DegreeOfParallelism = 1, CutOffTimeout = TimeSpan.FromSeconds(30), SampleSize = 0 };

    private static readonly Action<ModelBuilder> Both = model =>
    {
        Papers(model);
        model.Entity<Box>(box =>
        {
            box.ToTable("Boxes");
        });
        model.UseEnvelopeEncryption();
    };

    private static readonly Action<ModelBuilder> OnlyPapers = model =>
    {
        Papers(model);
        model.UseEnvelopeEncryption();
    };

    private static readonly Action<ModelBuilder> OnlyBoxes = model =>
    {
        model.Entity<Box>().ToTable("Boxes");
        model.UseEnvelopeEncryption();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_document_of_which_two_members_do_not_open_is_one_quarantined_cell_and_is_tried_once()
    {
        await SeedAsync(3, 0);
        await RotateAsync();
        var text = (string)(await _database.ScalarAsync("SELECT CAST(\"Inner\" AS TEXT) FROM \"Papers\" WHERE \"Id\" = 2"))!;
        await _database.ExecuteAsync($"UPDATE \"Papers\" SET \"Inner\" = {(provider == "PostgreSQL" ? "CAST(" : "")}'{Damaged(text)}'{(provider == "PostgreSQL" ? " AS jsonb)" : "")} WHERE \"Id\" = 2");
        var counted = 0;
        await using var context = New();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with { FaultPoint = Count });
        Assert.Equal((1L, 2L, false), (report.Quarantined, report.Census.StaleCells, report.IsProven));
        Assert.InRange(counted, 1, 2);

        ValueTask Count(JobStep step)
        {
            counted += step == JobStep.Counted ? 1 : 0;
            return ValueTask.CompletedTask;
        }
    }

    [Fact]
    public async Task A_quarantined_row_that_is_deleted_meanwhile_does_not_hide_a_cell_that_is_left()
    {
        await SeedAsync(3, 0);
        await RotateAsync();
        await PoisonAsync(2);
        var old = (byte[])(await _database.ScalarAsync("SELECT \"Text\" FROM \"Papers\" WHERE \"Id\" = 1"))!;
        var done = false;
        await using var context = New();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            FaultPoint = async step =>
            {
                if (step == JobStep.Worked && !done)
                {
                    done = true;
                    await _database.ExecuteAsync("DELETE FROM \"Papers\" WHERE \"Id\" = 2");
                    await _database.ExecuteAsync($"UPDATE \"Papers\" SET \"Text\" = {Blob(old)} WHERE \"Id\" = 1");
                }
            },
        });
        Assert.Equal((0L, 0L, true), (report.Census.StaleCells, report.Quarantined, report.IsProven));
    }

    [Fact]
    public async Task A_cell_whose_batch_was_rolled_back_after_it_was_found_not_to_open_stands_in_quarantine()
    {
        await SeedAsync(3, 0);
        await RotateAsync();
        await PoisonAsync(2);
        var failed = false;
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(Small with
        {
            FaultPoint = step => step == JobStep.Written && !failed && (failed = true) ? throw new IOException("The connection broke.") : ValueTask.CompletedTask,
        });
        Assert.Equal((1L, 1L), (report.Quarantined, report.Census.StaleCells));
        Assert.Equal("[2]", Assert.Single(await keys.ListQuarantineAsync()).PrimaryKey);
    }

    [Fact]
    public async Task A_job_that_began_again_after_its_work_was_done_reports_what_it_did()
    {
        await SeedAsync(3, 0);
        await RotateAsync();
        var failed = false;
        await using var context = New();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            FaultPoint = step => step == JobStep.CutOff && !failed && (failed = true) ? throw new IOException("The connection broke.") : ValueTask.CompletedTask,
        });
        Assert.Equal((3L, 3L), (report.Rows, report.Completion.JobRows));
        Assert.Single(report.Completion.StaleKeys);
        Assert.NotEqual(Guid.Empty, report.JobId);
    }

    [Fact]
    public async Task A_job_that_another_context_left_unfinished_is_left_to_it()
    {
        await SeedAsync(30, 30);
        await RotateAsync();
        await StopAfterABatchAsync(OnlyPapers);
        await using var second = New(OnlyBoxes);
        var report = await new EnvelopeKeys(second).ReencryptAsync(Small);
        Assert.Equal(30, report.Rows);
        Assert.DoesNotContain(report.Census.Entries, e => e.Table == "Boxes" && e.IsStale);

        await using var third = New(OnlyPapers);
        var rest = await new EnvelopeKeys(third).ReencryptAsync(Small);
        Assert.True(rest.IsProven, rest.NotProvenBecause);
        Assert.Equal((20L, 30L), (rest.Rows, rest.Completion.JobRows));
    }

    [Fact]
    public async Task A_table_that_was_renamed_after_a_job_was_stopped_is_re_encrypted()
    {
        await SeedAsync(30, 0);
        await RotateAsync();
        await StopAfterABatchAsync(OnlyPapers);
        await _database.ExecuteAsync("ALTER TABLE \"Papers\" RENAME TO \"Sheets\"");
        await using var renamed = New(Renamed);
        var keys = new EnvelopeKeys(renamed);
        var report = await keys.ReencryptAsync(Small);
        Assert.Equal(20, report.Rows);

        // Nobody can tell a table that was renamed from another application's that is not to be seen.
        Assert.Contains("Papers", report.NotProvenBecause, StringComparison.Ordinal);
        foreach (var missing in (await keys.ListColumnsAsync()).Where(c => !c.IsFound))
        {
            await keys.ForgetColumnAsync(missing.Table, missing.Column);
        }

        report = await keys.ReencryptAsync(Small);
        Assert.True(report.IsProven, report.NotProvenBecause);

        // What can never be taken up again is not listed as waiting for ever.
        Assert.All(await new EnvelopeKeys(renamed).ListJobsAsync(), j => Assert.Equal(ReencryptionJobState.Finished, j.State));
    }

    [Theory]
    [InlineData("blob")]
    [InlineData("integer")]
    [InlineData("domain")]
    [InlineData("json")]
    [InlineData("nested domain")]
    [InlineData("armour")]
    [InlineData("text")]
    public async Task A_registered_column_of_another_context_is_counted_whatever_its_type_became(string type)
    {
        await SeedAsync(1, 1);
        var cell = (byte[])(await _database.ScalarAsync("SELECT \"Text\" FROM \"Boxes\""))!;
        await RotateAsync();
        await _database.ExecuteAsync("ALTER TABLE \"Boxes\" DROP COLUMN \"Text\"");
        var isPostgres = provider == "PostgreSQL";
        if (isPostgres && type.Contains("domain", StringComparison.Ordinal))
        {
            await _database.ExecuteAsync("CREATE DOMAIN sealed AS bytea");
            await _database.ExecuteAsync("CREATE DOMAIN \"nested domain\" AS sealed");
        }

        // SQLite's STRING is a number to it, as is every name that it does not know.
        var declared = type switch
        {
            "blob" => isPostgres ? "bytea" : "blob", "domain" => isPostgres ? "sealed" : "NUMERIC", "nested domain" => isPostgres ? "\"nested domain\"" : "", "json" => isPostgres ? "jsonb" : "JSON",
            "armour" => isPostgres ? "xml" : "STRING", "text" => "varchar(500)", _ => "integer",
        };
        await _database.ExecuteAsync($"ALTER TABLE \"Boxes\" ADD COLUMN \"Text\" {declared}");
        var armour = EfEnvelope.Envelopes.TextArmor.Encode(cell);
        await _database.ExecuteAsync($"UPDATE \"Boxes\" SET \"Text\" = {type switch { "integer" => "7", "json" => $"'\"{armour}\"'", "armour" or "text" => $"'{armour}'", _ => Blob(cell) }}");
        await using var context = New(OnlyPapers);
        var census = await new EnvelopeKeys(context).TakeCensusAsync();
        var entries = census.Entries.Where(e => e is { Table: "Boxes", IsStale: true }).ToList();
        Assert.Equal(type == "integer" ? 0 : 1, entries.Sum(e => e.Cells));
        if (!isPostgres)
        {
            Assert.Equal(1, census.Entries.Where(e => e.Table == "Boxes").Sum(e => e.Cells));
        }
    }

    [Fact]
    public async Task A_job_between_two_claims_is_not_ended_by_another_process_that_has_its_proof()
    {
        await SeedAsync(150, 0);
        await RotateAsync();
        var (batches, ended) = (0, 0);
        await using var context = New();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            BatchSize = 100,
            CutOffTimeout = TimeSpan.Zero,
            FaultPoint = async step =>
            {
                // The second batch ends the first unit: nothing is claimed.
                if (step == JobStep.Committed && ++batches == 2)
                {
                    await using var other = New();
                    await using var connection = _database.Connect();
                    await connection.OpenAsync();
                    ended = await new JobStore(EfEnvelope.Storage.EnvelopeSession.Of(other)).FinishLeftBehindAsync(connection, default);
                    Assert.Equal(ReencryptionJobState.Waiting, Assert.Single(await new EnvelopeKeys(other).ListJobsAsync()).State);
                }
            },
        });
        Assert.Equal((150L, 0), (report.Rows, ended));
    }

    [Fact]
    public async Task A_row_that_the_database_refuses_to_have_rewritten_is_listed_and_all_others_are_moved()
    {
        await SeedAsync(25, 3);
        await RotateAsync();
        await _database.ExecuteAsync(provider == "PostgreSQL"
            ? "CREATE FUNCTION frozen() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'posted entries are immutable'; END $$ LANGUAGE plpgsql; CREATE CONSTRAINT TRIGGER frozen AFTER UPDATE ON \"Papers\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.\"Id\" IN (7, 20)) EXECUTE FUNCTION frozen()"
            : "CREATE TRIGGER frozen BEFORE UPDATE ON \"Papers\" WHEN OLD.\"Id\" IN (7, 20) BEGIN SELECT RAISE(ABORT, 'posted entries are immutable'); END");
        await using var context = New();
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero });
        Assert.Equal((26L, 4L, false), (report.Rows, report.Quarantined, report.IsProven));
        Assert.Contains("in quarantine", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Equal(6, report.Census.StaleCells);
        var reason = provider == "PostgreSQL" ? "RefusedByDatabase P0001" : "RefusedByDatabase 19";
        Assert.Equal([("[20]", "Inner", reason), ("[20]", "Text", reason), ("[7]", "Inner", reason), ("[7]", "Text", reason)], (await keys.ListQuarantineAsync()).Select(c => (c.PrimaryKey, c.Column, c.Reason)).Order());

        var retried = await keys.RetryQuarantineAsync();
        Assert.Equal((0, 4), (retried.Moved, retried.Kept.Count(c => c.Reason == reason)));
        await _database.ExecuteAsync($"DROP TRIGGER frozen{(provider == "PostgreSQL" ? " ON \"Papers\"" : "")}");
        Assert.Equal(4, (await keys.RetryQuarantineAsync()).Moved);
        Assert.Equal(0, (await keys.TakeCensusAsync()).StaleCells);
    }

    [Fact]
    public async Task An_entry_whose_key_the_model_converts_in_another_way_since_leaves_the_list()
    {
        await SeedAsync(3, 0);
        await RotateAsync();
        await PoisonAsync(2);
        await using (var context = New())
        {
            Assert.Equal(1, (await new EnvelopeKeys(context).ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero })).Quarantined);
        }

        await _database.ExecuteAsync("UPDATE \"Papers\" SET \"Id\" = \"Id\" + 1000");
        await using var converted = New(Converted);
        var report = await new EnvelopeKeys(converted).ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero });
        Assert.Equal(1, report.Quarantined);
        Assert.Equal("[1002]", Assert.Single(await new EnvelopeKeys(converted).ListQuarantineAsync()).PrimaryKey);
    }

    [Fact]
    public async Task A_document_of_a_type_that_keeps_its_characters_keeps_them()
    {
        const string Plain = "{ \"zeta\": 1E3,  \"alpha\": \"a\\u0000b\", \"alpha\": 2,  ";
        await SeedAsync(1, 0);
        if (provider == "PostgreSQL")
        {
            await _database.ExecuteAsync("ALTER TABLE \"Papers\" ALTER COLUMN \"Inner\" TYPE json");
        }

        await _database.ExecuteAsync($"UPDATE \"Papers\" SET \"Inner\" = {(provider == "PostgreSQL" ? $"CAST('{Plain}' || substr(CAST(\"Inner\" AS text), 2) AS json)" : $"'{Plain}' || substr(\"Inner\", 2)")}");
        await RotateAsync();
        await using var context = New(provider == "PostgreSQL" ? Kept : Both);
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero });
        Assert.Equal((1L, 0L, 0L), (report.Rows, report.Quarantined, report.Census.StaleCells));
        Assert.StartsWith(Plain, (string)(await _database.ScalarAsync("SELECT CAST(\"Inner\" AS TEXT) FROM \"Papers\""))!, StringComparison.Ordinal);
    }

    private static readonly Action<ModelBuilder> Kept = model =>
    {
        Papers(model);
        model.Entity<Paper>().OwnsOne(p => p.Inner, inner => inner.OwnedEntityType.SetContainerColumnType("json"));
        model.Entity<Box>().ToTable("Boxes");
        model.UseEnvelopeEncryption();
    };

    private static readonly Action<ModelBuilder> Converted = model =>
    {
        Papers(model);
        model.Entity<Paper>().Property(p => p.Id).HasConversion(id => id, id => id > 1000 ? id : Refuse());
        model.UseEnvelopeEncryption();
    };

    private static int Refuse() => throw new NotSupportedException("Not one of today's ids.");

    private static readonly Action<ModelBuilder> Renamed = model =>
    {
        Papers(model);
        model.Entity<Paper>().ToTable("Sheets");
        model.UseEnvelopeEncryption();
    };

    private static void Papers(ModelBuilder model)
        => model.Entity<Paper>(paper =>
        {
            paper.ToTable("Papers");
            paper.OwnsOne(p => p.Inner, inner => inner.ToJson());
        });

    private AdHocContext New(Action<ModelBuilder>? model = null) => new(_database.Options(e => e.With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }).UseTimeProvider(QuickTime.Shared), AdHocContext.Cached), model ?? Both);

    /// <summary>Leaves a job unfinished.</summary>
    private async Task StopAfterABatchAsync(Action<ModelBuilder> model)
    {
        using var stop = new CancellationTokenSource();
        await using var context = New(model);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new EnvelopeKeys(context).ReencryptAsync(
            Small with
            {
                FaultPoint = step =>
                {
                    if (step == JobStep.Committed)
                    {
                        stop.Cancel();
                    }

                    return ValueTask.CompletedTask;
                },
            },
            cancellationToken: stop.Token));
    }

    private async Task SeedAsync(int papers, int boxes)
    {
        await using var context = New();
        context.AddRange(Enumerable.Range(1, papers).Select(n => new Paper { Id = n, Text = $"text {n}", Inner = new Inner { First = $"first {n}", Second = $"second {n}" } }));
        context.AddRange(Enumerable.Range(1, boxes).Select(n => new Box { Id = n, Text = $"box {n}" }));
        await context.SaveChangesAsync();
    }

    private async Task RotateAsync()
    {
        await using var context = New();
        await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
    }

    /// <summary>A character behind each member's header is another one.</summary>
    private static string Damaged(string document)
        => System.Text.RegularExpressions.Regex.Replace(document, "efe1:[^\"]+", m =>
        {
            // JSON may spell characters of the armour as escapes, which are not to be cut.
            var plain = m.Value.Replace("\\u002B", "+", StringComparison.OrdinalIgnoreCase);
            return plain[..45] + (plain[45] == 'A' ? 'B' : 'A') + plain[46..];
        });

    private async Task PoisonAsync(int id)
    {
        var cell = (byte[])(await _database.ScalarAsync($"SELECT \"Text\" FROM \"Papers\" WHERE \"Id\" = {id}"))!;
        cell[^1] ^= 1;
        await _database.ExecuteAsync($"UPDATE \"Papers\" SET \"Text\" = {Blob(cell)} WHERE \"Id\" = {id}");
    }

    private string Blob(byte[] bytes) => provider == "PostgreSQL" ? $"'\\x{Convert.ToHexString(bytes)}'::bytea" : $"x'{Convert.ToHexString(bytes)}'";
}
