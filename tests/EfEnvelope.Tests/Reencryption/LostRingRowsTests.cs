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
        Assert.Contains($"4 cell(s) name row keys whose kek the ring no longer holds: {kek.Id}", report.NotProvenBecause, StringComparison.Ordinal);
        var census = await new EnvelopeKeys(job).ReportCensusAsync(sampleSize: 0);
        Assert.Contains("whose kek the ring no longer holds", census.NotProvenBecause, StringComparison.Ordinal);
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
