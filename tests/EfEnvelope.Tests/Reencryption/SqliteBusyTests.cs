using System.Data.Common;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>SQLite has one writer: what a job does while somebody else is it, for longer than a command waits.</summary>
public sealed class SqliteBusyTests : IAsyncLifetime
{
    private static readonly ReencryptionOptions Small = JobFaultTests.Small with { DegreeOfParallelism = 1, SampleSize = 0 };

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = New(TimeProvider.System);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(0, 5).Select(n => new Item { Id = n, Number = n, TenantId = 1, First = $"f{n}" }));
        await context.SaveChangesAsync();
        await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(1));
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_job_begins_again_when_another_writer_held_the_lock_for_too_long()
    {
        DbTransaction? held = null;
        var isReleased = false;
        await using var connection = _database.Connect();
        await connection.OpenAsync();
        await using var context = New(new WaitingTime(() =>
        {
            isReleased = true;
            held?.Dispose();
        }));
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            CutOffTimeout = TimeSpan.Zero,
            FaultPoint = async step => held ??= step == JobStep.KeysLoaded ? await connection.BeginTransactionAsync() : null,
        });
        Assert.True(isReleased);
        Assert.Equal((5L, 0L), (report.Rows, report.Census.StaleCells));
    }

    [Fact]
    public async Task A_writer_that_does_not_end_withholds_the_proof_and_is_told()
    {
        await using var connection = _database.Connect();
        await connection.OpenAsync();
        DbTransaction? held = null;
        await using var context = New(TimeProvider.System);
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small with
        {
            CutOffTimeout = TimeSpan.FromSeconds(2),
            FaultPoint = async step => held ??= step == JobStep.Worked ? await connection.BeginTransactionAsync() : null,
        });
        Assert.Equal((5L, false), (report.Rows, report.IsProven));
        Assert.Contains("has not ended its transaction", report.NotProvenBecause, StringComparison.Ordinal);
        await held!.DisposeAsync();
    }

    private LoadContext New(TimeProvider time)
        => new(_database.Options(e => e.UseTimeProvider(time).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }), connectionString: _database.ConnectionString + ";Default Timeout=1"));

    /// <summary>The machine's clock; tells when the job waits to begin again.</summary>
    private sealed class WaitingTime(Action onWait) : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime == TimeSpan.FromMilliseconds(200))
            {
                onWait();
            }

            return base.CreateTimer(callback, state, dueTime, period);
        }
    }
}
