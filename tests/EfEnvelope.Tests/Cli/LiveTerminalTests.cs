using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Reencryption;
using Spectre.Console.Testing;

namespace EfEnvelope.Tests.Cli;

public sealed class SqliteLiveTerminalTests() : LiveTerminalTests("SQLite");

public sealed class PostgresLiveTerminalTests() : LiveTerminalTests("PostgreSQL");

/// <summary>What the verbs show where somebody looks on: a bar that is drawn over itself, and tables.</summary>
public abstract class LiveTerminalTests(string provider) : IAsyncLifetime
{
    private const string Escape = "\u001b[";

    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, 60, 2, ["Item"]);
        await JobFaultTests.RotateAsync(_target);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_plan_is_a_table_and_a_job_a_bar_to_its_end()
    {
        var (code, plan) = await RunAsync("reencrypt", "--dry-run");
        Assert.Equal(EnvelopeCommandLine.Proven, code);
        Assert.Contains("Re-encryption plan", plan, StringComparison.Ordinal);
        Assert.Contains("│ Rotated", plan, StringComparison.Ordinal);
        Assert.Contains("nothing was changed", plan, StringComparison.Ordinal);

        (code, var job) = await RunAsync("reencrypt", "--batch-size", "7", "--cut-off-timeout", "30");
        Assert.True(code == EnvelopeCommandLine.Proven, job);
        Assert.Contains(Escape, job, StringComparison.Ordinal);
        Assert.Matches(@"Items [0-9]+ rows/s", job);
        Assert.Contains("100%", job, StringComparison.Ordinal);
        Assert.Contains("60 row(s) re-encrypted", job, StringComparison.Ordinal);
        Assert.DoesNotContain(" to do, ", job, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_compromise_says_what_was_exposed_beside_the_bar()
    {
        var (code, printed) = await RunAsync("compromise", "--scope", "tenant:" + Values.Tenant(3, 2), "--reason", "laptop stolen", "--cut-off-timeout", "30");
        Assert.True(code == EnvelopeCommandLine.Proven, printed);
        Assert.Contains("reason: laptop stolen", printed, StringComparison.Ordinal);
        Assert.Matches(@"Items [0-9]+ rows/s", printed);
        Assert.Contains(Escape, printed, StringComparison.Ordinal);
    }

    private async Task<(int ExitCode, string Printed)> RunAsync(params string[] verb)
    {
        using var console = new TestConsole();
        console.Interactive().SupportsAnsi(true).EmitAnsiSequences().Width(200);
        return (await EnvelopeCommandLine.RunAsync(verb, () => _target.CreateContext(), console), console.Output);
    }
}
