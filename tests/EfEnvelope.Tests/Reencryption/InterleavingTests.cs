using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteInterleavingTests() : InterleavingTests("SQLite", interleavings: 7_000);

public sealed class PostgresInterleavingTests() : InterleavingTests("PostgreSQL", interleavings: 3_000);

/// <summary>G30: whatever the application writes between any two steps of the job is what stands there afterwards; 10,000 in sum of both providers. <c>eng/chaos.sh</c> does the same a hundred times as often.</summary>
public abstract class InterleavingTests(string provider, int interleavings)
{
    [Fact]
    public async Task Whatever_the_application_writes_between_two_steps_of_the_job_is_never_lost()
    {
        var seed = Environment.GetEnvironmentVariable("EFENVELOPE_SEED") is { Length: > 0 } given ? int.Parse(given, System.Globalization.CultureInfo.InvariantCulture) : Environment.TickCount;
        await using var database = await JobDatabase.CreateAsync(provider);
        var result = await new Interleaver(database.Target(TimeSpan.FromSeconds(1)), seed).RunAsync(interleavings);
        Assert.True(result.Conflicts > 10, $"Seed {seed}: only {result.Conflicts} writes met the job.");
    }
}
