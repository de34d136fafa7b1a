using EfEnvelope.Census;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.KeyManagement;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;
using Npgsql;

namespace EfEnvelope.Tests.Proof;

/// <summary>The census of a proof runs on the primary.</summary>
public sealed class StandbyTests
{
    [Fact]
    public async Task A_standby_proves_nothing_and_still_verifies()
    {
        await using var cluster = await PostgresCluster.StartAsync();
        var time = new PatientClock();
        var service = new InMemoryKeyManagementService();
        var connection = new NpgsqlConnectionStringBuilder(cluster.ConnectionString) { Pooling = false }.ConnectionString;
        DbContextOptions Options() => EfEnvelope.JobProcess.Load.TestOptions.AmongMany(new DbContextOptionsBuilder()).UseNpgsql(connection).UseEnvelopeEncryption(e => e.UseKeyManagementService(service).UseTimeProvider(time)).Options;
        string proof;
        await using (var primary = new BankContext(Options()))
        {
            await primary.Database.EnsureCreatedAsync();
            primary.Add(new Ledger { Code = "L", Year = 2026, Balance = 1 });
            await primary.SaveChangesAsync();
            var keys = new EnvelopeKeys(primary);
            await keys.RotateAsync(EnvelopeScope.Global);
            var report = await keys.ReencryptAsync();
            Assert.True(report.IsProven, report.NotProvenBecause);
            proof = report.Completion.ToJson();
        }

        await File.WriteAllTextAsync(Path.Combine(cluster.DataDirectory, "standby.signal"), "");
        await cluster.RestartAsync("fast");
        await using var standby = new BankContext(Options());
        var later = await new EnvelopeKeys(standby).ReportCensusAsync();
        Assert.Equal((false, false), (later.IsProven, later.CutOff.IsReached));
        Assert.Contains("standby", later.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains("standby", (await CensusTaker.TakeAsync(EnvelopeSession.Of(standby), null, default)).NotAllBecause, StringComparison.Ordinal);
        Assert.Equal((1L, 1), (later.Census.Sum(c => c.Cells), later.Sample.Sum(s => s.Opened)));
        Assert.True((await new EnvelopeKeys(standby).VerifyReportAsync(proof)).Report?.IsProven);
        foreach (var isCold in new[] { false, true })
        {
            time.Advance(TimeSpan.FromMinutes(2));
            Assert.Equal(1, (await standby.Ledgers.AsNoTracking().SingleAsync()).Balance);
            standby.ChangeTracker.Clear();
            standby.Add(new Ledger { Code = "M", Year = 2026, Balance = 1 });
            Assert.Contains("standby", (await Assert.ThrowsAsync<KeyUnavailableException>(() => standby.SaveChangesAsync())).Message, StringComparison.Ordinal);
            if (!isCold)
            {
                EnvelopeSession.Of(standby).Ring.Invalidate();
            }
        }

        Assert.Contains("standby", (await Assert.ThrowsAsync<KeyInUseException>(async () => await new EnvelopeKeys(standby).RevokeAsync(later.StaleKeys.Single().Id!.Value))).Message, StringComparison.Ordinal);
    }
}
