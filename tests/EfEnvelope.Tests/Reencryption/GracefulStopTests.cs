using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteGracefulStopTests() : GracefulStopTests("SQLite");

public sealed class PostgresGracefulStopTests() : GracefulStopTests("PostgreSQL");

/// <summary>A job that is told to stop in the middle of a batch.</summary>
public abstract class GracefulStopTests(string provider) : IAsyncLifetime
{
    private const int Rows = 40;

    private static readonly ReencryptionOptions Job = JobFaultTests.Small with { BatchSize = 10, DegreeOfParallelism = 1 };

    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, Rows, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("Written")]
    [InlineData("Checkpointed")]
    public async Task The_batch_is_finished_and_its_unit_given_back(string at)
    {
        await StopAsync(Enum.Parse<JobStep>(at), Job);
        Assert.Equal(2 * (Rows - 10), await JobFaultTests.StaleAsync(_target));
        Assert.Equal(0L, await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeJobUnits\" WHERE \"State\" = 1"));
        await FinishAsync(Rows - 10);
    }

    [Fact]
    public async Task A_batch_whose_grace_is_over_is_rolled_back_and_done_by_the_next_run()
    {
        await StopAsync(JobStep.Written, Job with { StopGrace = TimeSpan.Zero });
        Assert.Equal(2 * Rows, await JobFaultTests.StaleAsync(_target));
        Assert.Equal(0L, await ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeJobUnits\" WHERE \"State\" = 1"));
        await FinishAsync(Rows);
    }

    [Fact]
    public async Task Before_its_transaction_a_batch_is_not_begun()
    {
        await StopAsync(JobStep.Read, Job);
        Assert.Equal(2 * Rows, await JobFaultTests.StaleAsync(_target));
        await FinishAsync(Rows);
    }

    private async Task StopAsync(JobStep at, ReencryptionOptions options)
    {
        using var stop = new CancellationTokenSource();
        await using var context = _target.CreateContext();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new EnvelopeKeys(context).ReencryptAsync(
            options with
            {
                FaultPoint = async step =>
                {
                    if (step == at)
                    {
                        await stop.CancelAsync();
                    }
                },
            },
            cancellationToken: stop.Token));
    }

    private async Task FinishAsync(long rows)
    {
        await using var context = _target.CreateContext();
        var report = await new EnvelopeKeys(context).ReencryptAsync(Job);
        Assert.Equal((rows, Rows, true), (report.Rows, report.Completion.JobRows, report.IsProven));
    }

    private async Task<object?> ScalarAsync(string sql)
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        return await command.ExecuteScalarAsync();
    }
}

/// <summary>What a job's options may say.</summary>
public sealed class ReencryptionOptionsTests
{
    private static readonly ReencryptionOptions Defaults = new();

    public static TheoryData<string, ReencryptionOptions> OutOfRange => new()
    {
        { "BatchSize", Defaults with { BatchSize = 0 } },
        { "BatchSize", Defaults with { BatchSize = 10_001 } },
        { "DegreeOfParallelism", Defaults with { DegreeOfParallelism = 0 } },
        { "DegreeOfParallelism", Defaults with { DegreeOfParallelism = 65 } },
        { "UnitSize", Defaults with { UnitSize = 99 } },
        { "UnitSize", Defaults with { UnitSize = 10_000_001 } },
        { "Pause", Defaults with { Pause = TimeSpan.FromTicks(-1) } },
        { "Pause", Defaults with { Pause = TimeSpan.FromHours(1) + TimeSpan.FromTicks(1) } },
        { "MaxRowsPerSecond", Defaults with { MaxRowsPerSecond = -1 } },
        { "Window", Defaults with { Window = new ReencryptionWindow(default, default, null!) } },
        { "MaxReplicaLagBytes", Defaults with { MaxReplicaLagBytes = -1 } },
        { "CutOffTimeout", Defaults with { CutOffTimeout = TimeSpan.FromTicks(-1) } },
        { "CutOffTimeout", Defaults with { CutOffTimeout = TimeSpan.FromDays(8) } },
        { "SampleSize", Defaults with { SampleSize = -1 } },
        { "SampleSize", Defaults with { SampleSize = 1_001 } },
        { "KeyLifetime", Defaults with { KeyLifetime = TimeSpan.FromHours(23) } },
        { "KeyLifetime", Defaults with { KeyLifetime = TimeSpan.FromDays(3_651) } },
        { "UnitLease", Defaults with { UnitLease = TimeSpan.FromSeconds(4) } },
        { "UnitLease", Defaults with { UnitLease = TimeSpan.FromHours(2) } },
        { "StopGrace", Defaults with { StopGrace = TimeSpan.FromTicks(-1) } },
        { "StopGrace", Defaults with { StopGrace = TimeSpan.FromMinutes(11) } },
    };

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public void What_is_out_of_its_range_is_refused_and_named(string name, ReencryptionOptions options)
        => Assert.Contains($"{name} ", Assert.Throws<EnvelopeConfigurationException>(options.Validate).Message, StringComparison.Ordinal);

    [Fact]
    public void Every_public_option_has_a_range_or_is_any_value()
    {
        Defaults.Validate();
        Assert.Equal(
            typeof(ReencryptionOptions).GetProperties().Select(p => p.Name).Order(StringComparer.Ordinal),
            OutOfRange.Select(row => (string)((object[])row)[0]).Distinct().Order(StringComparer.Ordinal));
    }
}
