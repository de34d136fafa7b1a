using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteRowKeyMemoryTests() : RowKeyMemoryTests("SQLite", rows: 12_000, heapMebibytes: 22);

public sealed class PostgresRowKeyMemoryTests() : RowKeyMemoryTests("PostgreSQL", rows: 8_000, heapMebibytes: 40);

/// <summary>G54, where every row has a key of its own.</summary>
/// <param name="provider">The database.</param>
/// <param name="rows">As many as make either limit fail if what it is for grew with them.</param>
/// <param name="heapMebibytes">Managed memory of the whole process. On SQLite what a job needs leaves no room for one list of all ring rows (0.9 KiB each); the workers' connections to PostgreSQL have buffers, and there the limit is for keys that are held (5 KiB each).</param>
public abstract class RowKeyMemoryTests(string provider, int rows, int heapMebibytes)
{
    [Fact]
    public async Task A_job_over_rows_with_keys_of_their_own_needs_no_memory_for_each()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await Loader.RunAsync(target, rows, 2, ["Card"]);
        await JobFaultTests.RotateAsync(target);
        await using var job = ChildProcess.Start("job", target, ["--batch", "500", "--unit", "5000", "--parallel", "2"], maximumHeapBytes: heapMebibytes * 1024L * 1024);
        Assert.True(await job.ExitAsync(TimeSpan.FromMinutes(2)) == 0, job.Output);
        await using var context = target.CreateContext();
        var census = await new EnvelopeKeys(context).TakeCensusAsync();
        Assert.Equal((0L, 2L * rows), (census.StaleCells, census.Cells));

        // Nor do an export and an import of the ring, which now holds two keys a row.
        var path = Path.Combine(Path.GetTempPath(), $"efenvelope-ring-{Guid.NewGuid():N}.jsonl");
        try
        {
            await RunVerbAsync(target, "export", path);
            await context.Database.ExecuteSqlRawAsync("DELETE FROM \"EnvelopeKeys\"");
            await RunVerbAsync(target, "import", path);
        }
        finally
        {
            File.Delete(path);
        }

        Assert.Equal(2L * rows, (await new EnvelopeKeys(context).CountRowKeysAsync()).Sum(s => s.Value));
    }

    private async Task RunVerbAsync(Target target, string verb, string path)
    {
        await using var process = ChildProcess.Start("envelope", target, ["--", verb, "--file", path], maximumHeapBytes: heapMebibytes * 1024L * 1024);
        Assert.True(await process.ExitAsync(TimeSpan.FromMinutes(2)) == 0, process.Output);
    }
}
