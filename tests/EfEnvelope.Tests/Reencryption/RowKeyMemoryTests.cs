using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteRowKeyMemoryTests() : RowKeyMemoryTests("SQLite");

public sealed class PostgresRowKeyMemoryTests() : RowKeyMemoryTests("PostgreSQL");

/// <summary>G54, where every row has a key of its own.</summary>
public abstract class RowKeyMemoryTests(string provider)
{
    private const int Rows = 6_000;

    /// <summary>A list of the row keys takes more: about 5 KiB each.</summary>
    private const long HeapBytes = 48L * 1024 * 1024;

    [Fact]
    public async Task A_job_over_rows_with_keys_of_their_own_needs_no_memory_for_each()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await Loader.RunAsync(target, Rows, 2, ["Card"]);
        await JobFaultTests.RotateAsync(target);
        await using var job = ChildProcess.Start("job", target, ["--batch", "500", "--unit", "5000", "--parallel", "2"], maximumHeapBytes: HeapBytes);
        Assert.True(await job.ExitAsync(TimeSpan.FromMinutes(2)) == 0, job.Output);
        await using var context = target.CreateContext();
        var census = await new EnvelopeKeys(context).TakeCensusAsync();
        Assert.Equal((0L, 2L * Rows), (census.StaleCells, census.Cells));
    }
}
