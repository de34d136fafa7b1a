using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteRetiredMeanwhileTests() : RetiredMeanwhileTests("SQLite");

public sealed class PostgresRetiredMeanwhileTests() : RetiredMeanwhileTests("PostgreSQL")
{
    [Fact]
    public async Task A_transaction_that_is_prepared_while_the_cut_off_waits_for_it_withholds_the_proof()
    {
        await using var context = Live();
        await SeedAsync(context, 2, 0);
        await using var connection = Database.Connect();
        await connection.OpenAsync();
        await RunAsync("BEGIN");
        await RunAsync("UPDATE \"Customers\" SET \"Note\" = \"Note\" WHERE \"Branch\" = 'b1'");
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        var job = keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.FromSeconds(2) });
        while (!job.IsCompleted && await Database.ScalarAsync("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%virtualxid = ANY($1)%' AND pid <> pg_backend_pid()") is not > 0L)
        {
            await Task.Yield();
        }

        await RunAsync("PREPARE TRANSACTION 'late'");
        var report = await job;
        await RunAsync("ROLLBACK PREPARED 'late'");
        Assert.False(report.IsProven);
        Assert.Contains("pg_prepared_xacts", report.NotProvenBecause, StringComparison.Ordinal);

        async Task RunAsync(string sql)
        {
            await using var command = connection.CreateCommand();
            command.CommandText = sql;
            await command.ExecuteNonQueryAsync();
        }
    }
}

/// <summary>Keys that are retired while a job runs: its proof covers them too.</summary>
public abstract class RetiredMeanwhileTests(string provider) : LifecycleFixture(provider)
{
    [Theory]
    [InlineData(-2)]
    [InlineData(2)]
    public async Task No_clock_that_is_hours_off_shortens_the_lease_that_a_rotation_has(int hours)
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var clock = new PatientClock();
        clock.Advance(TimeSpan.FromHours(5 + hours));
        Database.Time.Advance(TimeSpan.FromHours(5));
        await using (var laptop = new BankContext(Database.Options(e => e.UseTimeProvider(clock))))
        {
            await new EnvelopeKeys(laptop).RotateAsync(ScopeA);
        }

        var report = await new EnvelopeKeys(context).ReencryptAsync(Short);
        Assert.Equal((1L, false), (report.Rows, report.IsProven));
        Assert.Contains("sealing lease ends in 60 s", report.NotProvenBecause, StringComparison.Ordinal);
        var old = await KeyAsync(context, ScopeA.Value);
        await Assert.ThrowsAsync<KeyInUseException>(() => new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.FromSeconds(30) }.RevokeAsync(old.Id));
        var started = Database.Time.GetTimestamp();
        Assert.Equal(KeyState.Revoked, (await new EnvelopeKeys(context).RevokeAsync(old.Id)).State);
        Assert.Equal(new KeyRingOptions().SealingLease, Database.Time.GetElapsedTime(started));
    }

    [Fact]
    public async Task A_key_that_is_retired_while_a_job_runs_has_its_own_lease_waited_for()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        await using var writer = New("b");
        Assert.Equal("Name 0", (await ReadAsync(writer)).FullName);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        var steps = 0;
        var report = await new EnvelopeKeys(context).ReencryptAsync(Short with
        {
            FaultPoint = async step =>
            {
                if (step == JobStep.Worked && ++steps == 1)
                {
                    // The first lease is over; the writer holds the second key, confirmed just now, when that is rotated too.
                    Database.Time.Advance(TimeSpan.FromSeconds(61));
                    writer.Add(new Customer { TenantId = TenantA, Branch = "w0", FullName = "n", Ssn = "s" });
                    await writer.SaveChangesAsync();
                    await using var other = New("c");
                    await new EnvelopeKeys(other).RotateAsync(ScopeA);
                }
            },
        });
        writer.Add(new Customer { TenantId = TenantA, Branch = "w1", FullName = "n", Ssn = "s" });
        await writer.SaveChangesAsync();
        var stale = (await new EnvelopeKeys(context).TakeCensusAsync()).StaleCells;
        Assert.True(stale > 0);
        Assert.False(report.IsProven);
        Assert.Contains("sealing lease ends", report.NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_without_a_cell_that_is_retired_while_a_job_runs_has_its_own_lease_waited_for()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        await using var writer = New("b");
        writer.Add(new Customer { TenantId = TenantB, Branch = "w0", FullName = "n", Ssn = "s" });
        await writer.SaveChangesAsync();
        await context.Customers.IgnoreQueryFilters().Where(c => c.TenantId == TenantB).ExecuteDeleteAsync();
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        var steps = 0;
        var report = await new EnvelopeKeys(context).ReencryptAsync(Short with
        {
            FaultPoint = async step =>
            {
                if (step == JobStep.Worked && ++steps == 1)
                {
                    Database.Time.Advance(TimeSpan.FromSeconds(61));
                    writer.Add(new Customer { TenantId = TenantA, Branch = "w1", FullName = "n", Ssn = "s" });
                    await writer.SaveChangesAsync();
                }
                else if (step == JobStep.CutOff && steps == 1)
                {
                    await using var other = New("c");
                    await new EnvelopeKeys(other).RotateAsync(EnvelopeScope.Tenant(TenantB));
                }
            },
        });
        Assert.Equal(2, steps);
        Assert.False(report.IsProven);
        Assert.Contains("sealing lease ends", report.NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_seals_with_no_key_that_another_process_retired_before_it_began()
    {
        await using var context = New();
        await SeedAsync(context, 40, 12);
        await using (var other = New("b"))
        {
            await new EnvelopeKeys(other).RotateAsync(ScopeA);
        }

        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);
        Assert.Equal((32L, 0L), (report.Rows, report.Census.StaleCells));
    }

    [Fact]
    public async Task What_an_import_retires_has_its_lease_waited_for()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var keys = new EnvelopeKeys(context);
        var key = await KeyAsync(context, ScopeA.Value);
        await Database.ExecuteAsync($"CREATE TABLE \"Backup\" AS SELECT * FROM \"EnvelopeKeys\" WHERE {IdIs(key.Id)}");
        await keys.RotateAsync(ScopeA);
        using var export = new MemoryStream();
        await keys.ExportAsync(export);

        // The ring's backup is put back, an application seals with the key again, and a day later the export is found.
        await Database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE {IdIs(key.Id)}");
        await Database.ExecuteAsync("INSERT INTO \"EnvelopeKeys\" SELECT * FROM \"Backup\"");
        Assert.Equal(KeyState.Active, (await KeyAsync(context, ScopeA.Value)).State);
        Database.Time.Advance(TimeSpan.FromDays(1));
        export.Position = 0;
        await using var other = New("b");
        Assert.Equal(1, (await new EnvelopeKeys(other).ImportAsync(export)).Changed);
        var imported = await KeyAsync(other, ScopeA.Value);
        Assert.Equal((KeyState.Deactivated, Database.Time.GetUtcNow()), (imported.State, imported.StateChangedAt));
    }

    [Fact]
    public async Task A_key_that_an_import_revokes_while_a_job_runs_has_its_lease_waited_for()
    {
        var scopeB = EnvelopeScope.Tenant(TenantB);
        using var export = new MemoryStream();
        await using (var context = New())
        {
            await SeedAsync(context, 4, 0);
            var first = await KeyAsync(context, scopeB.Value);
            await Database.ExecuteAsync($"CREATE TABLE \"Backup\" AS SELECT * FROM \"EnvelopeKeys\" WHERE {IdIs(first.Id)}");
            var keys = new EnvelopeKeys(context);
            await keys.RotateAsync(scopeB);
            await context.Customers.IgnoreQueryFilters().Where(c => c.TenantId == TenantB).ExecuteDeleteAsync();
            PassLease();
            await keys.RevokeAsync(first.Id);
            await keys.ExportAsync(export);

            // A backup of the ring is put back, in which the key still seals; an application that starts over it uses it.
            await Database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE \"Scope\" = '{scopeB.Value}'");
            await Database.ExecuteAsync("INSERT INTO \"EnvelopeKeys\" SELECT * FROM \"Backup\"");
            PassLease();
        }

        await using var writer = New("b");
        await using var job = New("c");
        var steps = 0;
        var report = await new EnvelopeKeys(job).ReencryptAsync(Short with
        {
            FaultPoint = async step =>
            {
                if (step == JobStep.Worked && ++steps == 1)
                {
                    Database.Time.Advance(TimeSpan.FromSeconds(61));
                    writer.Add(new Customer { TenantId = TenantB, Branch = "w0", FullName = "n", Ssn = "s" });
                    await writer.SaveChangesAsync();
                    await writer.Customers.IgnoreQueryFilters().Where(c => c.TenantId == TenantB).ExecuteDeleteAsync();
                }
                else if (step == JobStep.CutOff && export.CanRead)
                {
                    export.Position = 0;
                    await using var other = New("d");
                    Assert.Equal((1, 1), await ImportAsync(other));
                }
            },
        });
        writer.Add(new Customer { TenantId = TenantB, Branch = "w1", FullName = "n", Ssn = "s" });
        await writer.SaveChangesAsync();
        Assert.True((await new EnvelopeKeys(job).TakeCensusAsync()).StaleCells > 0);
        Assert.False(report.IsProven);
        Assert.Contains("sealing lease ends", report.NotProvenBecause, StringComparison.Ordinal);

        async Task<(long Added, long Changed)> ImportAsync(BankContext context)
        {
            var imported = await new EnvelopeKeys(context).ImportAsync(export);
            export.Close();
            return (imported.Added, imported.Changed);
        }
    }

    [Fact]
    public async Task Rows_of_a_tenant_that_is_erased_while_a_job_holds_their_keys_get_no_new_ones()
    {
        await using var context = New();
        await SeedAsync(context, 0, 3);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        Assert.Equal(3, (await context.Set<PaymentCard>().IgnoreQueryFilters().AsNoTracking().ToListAsync()).Count(c => c.Number.StartsWith("4111", StringComparison.Ordinal)));
        context.Add(new PaymentCard { TenantId = TenantA, Label = "new", Number = "4111" });
        await context.SaveChangesAsync();
        var erased = false;
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            SampleSize = 0,
            FaultPoint = async step =>
            {
                if (step == JobStep.Read && !erased)
                {
                    erased = true;
                    await using var other = New("b");
                    await new EnvelopeKeys(other).EraseAsync(ScopeA, "asked for");
                }
            },
        });
        Assert.Equal((0L, 0L), (report.Rows, report.Quarantined));
        Assert.All(await new EnvelopeKeys(context).ListAsync(includeRowKeys: true), k => Assert.True(k.State == KeyState.Destroyed || !k.Scope.Contains(ScopeA.Value, StringComparison.Ordinal), k.Scope));
    }
}
