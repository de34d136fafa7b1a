using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteLostRingRowsTests() : LostRingRowsTests("SQLite");

public sealed class PostgresLostRingRowsTests() : LostRingRowsTests("PostgreSQL");

/// <summary>Rows of the ring that are deleted by somebody: nothing is proven of cells whose key nobody knows.</summary>
public abstract class LostRingRowsTests(string provider) : LifecycleFixture(provider)
{
    [Fact]
    public async Task A_retired_key_whose_row_is_lost_while_the_job_runs_withholds_the_proof()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var key = await KeyAsync(context, ScopeA.Value);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        PassLease();
        await using var job = New("b");
        var report = await new EnvelopeKeys(job).ReencryptAsync(Small with
        {
            FaultPoint = step => step == JobStep.Planned ? new ValueTask(DeleteAsync(key.Id)) : ValueTask.CompletedTask,
        });
        Assert.False(report.IsProven);
        Assert.Contains($"lost key(s) that rows had to leave while the job ran: {key.Id}", report.NotProvenBecause, StringComparison.Ordinal);

        // Nor does a second run forget it, which finds no stale key any more.
        var cells = (await new EnvelopeKeys(job).TakeCensusAsync()).CountOf(key.Id);
        report = await new EnvelopeKeys(job).ReencryptAsync(Small with { SampleSize = 0 });
        Assert.Equal(cells == 0, report.IsProven);
        Assert.True(cells > 0);
        Assert.Contains(key.Id.ToString(), report.NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cell_of_a_key_that_the_ring_does_not_hold_withholds_the_proof_and_no_other_keys_end()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        PassLease();
        var foreign = await CellAsync("b1");
        foreign.AsSpan(4, 16).Reverse();
        await PlantAsync(foreign, "b1");
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(Small);
        Assert.False(report.IsProven);
        Assert.Contains("1 cell(s) name keys", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("UNKNOWN: 1 cell(s)", report.Completion.ToText(), StringComparison.Ordinal);
        PassLease();
        await keys.RevokeAsync((await KeyAsync(context, ScopeA.Value)).Id);
    }

    [Fact]
    public async Task Rows_whose_kek_is_lost_withhold_the_proof_of_a_job_and_of_a_census()
    {
        await using var context = New();
        await SeedAsync(context, 0, 4);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        PassLease();
        await DeleteAsync(kek.Id);
        await using var job = New("b");
        var report = await new EnvelopeKeys(job).ReencryptAsync(Small with { SampleSize = 0 });
        Assert.False(report.IsProven);
        Assert.Contains($"4 cell(s) name keys, or row keys under keks, that the key ring does not hold: {kek.Id}", report.NotProvenBecause, StringComparison.Ordinal);
        var census = await new EnvelopeKeys(job).ReportCensusAsync(sampleSize: 0);
        Assert.Contains("that the key ring does not hold", census.NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_kek_that_is_made_while_a_census_runs_is_not_taken_for_lost()
    {
        await using var context = New();
        await SeedAsync(context, 0, 1);
        var book = await KeyBook.OpenAsync(EnvelopeSession.Of(context), default);
        await using (var other = New("b"))
        {
            other.Add(new PaymentCard { TenantId = TenantB, Label = "late", Number = "4111" });
            await other.SaveChangesAsync();
        }

        var row = (await new EnvelopeKeys(context).ListAsync(includeRowKeys: true)).Single(k => k.Scope.EndsWith($"tenant:{TenantB}", StringComparison.Ordinal) && k.KekId is not null);
        Assert.Null(book.Find(row.KekId!.Value));
        Assert.Equal(row.Id, Assert.Single(await book.FindAsync([row.Id], default)).Key);
        Assert.Equal(KeyState.Active, book.Find(row.KekId.Value)!.State);
    }

    private Task DeleteAsync(Guid id) => Database.ExecuteAsync($"DELETE FROM \"EnvelopeKeys\" WHERE {IdIs(id)}");
}
