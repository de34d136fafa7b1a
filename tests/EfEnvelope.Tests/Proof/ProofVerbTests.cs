using EfEnvelope.Cli;
using EfEnvelope.Tests.Lifecycle;
using Spectre.Console;

namespace EfEnvelope.Tests.Proof;

public sealed class SqliteProofVerbTests() : ProofVerbTests("SQLite");

public sealed class PostgresProofVerbTests() : ProofVerbTests("PostgreSQL");

/// <summary>The proof from the command line: files, and the exit codes that a script relies on.</summary>
public abstract class ProofVerbTests(string provider) : LifecycleFixture(provider), IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-proof-").FullName;
    private StringWriter _printed = new();

    [Fact]
    public async Task Reencrypt_keeps_its_report_as_JSON_and_text_and_verify_report_checks_it()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 1);
        await new EnvelopeKeys(context).RotateAsync(ScopeA, "yearly");
        var (json, text) = (Path("proof.json"), Path("proof.txt"));
        Assert.Equal(0, await RunAsync("reencrypt", "--report", json, "--cut-off-timeout", "30"));
        Assert.StartsWith("Completion report of a re-encryption: PROVEN", await File.ReadAllTextAsync(text), StringComparison.Ordinal);
        Assert.Equal(0, await RunAsync("verify-report", json));
        Assert.StartsWith("Genuine and proven", Printed, StringComparison.Ordinal);
        Assert.Contains("yearly", Printed, StringComparison.Ordinal);

        var bytes = await File.ReadAllBytesAsync(json);
        await File.WriteAllTextAsync(Path("changed.json"), System.Text.RegularExpressions.Regex.Replace(await File.ReadAllTextAsync(json), "\"rows\":(\\d)", "\"rows\":1$1"));
        Assert.Equal(1, await RunAsync("verify-report", Path("changed.json")));
        Assert.StartsWith("NOT GENUINE: rows", Printed, StringComparison.Ordinal);
        bytes[10] = 0xff;
        await File.WriteAllBytesAsync(Path("binary.json"), bytes);
        Assert.Equal(1, await RunAsync("verify-report", Path("binary.json")));
        Assert.Contains("not UTF-8", Printed, StringComparison.Ordinal);
        Assert.Equal(2, await RunAsync("verify-report", Path("none.json")));
        Assert.Equal(2, await RunAsync("verify-report", _folder));
        Assert.Equal(2, await RunAsync("verify-report"));

        // Neither file is ever overwritten; that is found out before anything is changed, and leaves no empty file.
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        var before = (await new EnvelopeKeys(context).TakeCensusAsync()).StaleCells;
        Assert.True(before > 0);
        Assert.Equal(2, await RunAsync("reencrypt", "--report", json));
        await File.WriteAllTextAsync(Path("taken.txt"), "kept");
        Assert.Equal(2, await RunAsync("reencrypt", "--report", Path("taken.json")));
        Assert.False(File.Exists(Path("taken.json")));
        Assert.Equal("kept", await File.ReadAllTextAsync(Path("taken.txt")));
        Assert.Equal(before, (await new EnvelopeKeys(context).TakeCensusAsync()).StaleCells);
    }

    [Fact]
    public async Task A_report_that_proves_nothing_is_kept_and_ends_with_3_or_4()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 0);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        Assert.Equal(4, await RunAsync("reencrypt", "--report", Path("soon.json"), "--cut-off-timeout", "0"));
        Assert.Equal(4, await RunAsync("verify-report", Path("soon.json")));
        Assert.StartsWith("Genuine, but NOT PROVEN: the cut-off was not waited for", Printed, StringComparison.Ordinal);

        var broken = await CellAsync("b0");
        broken[^1] ^= 1;
        await PlantAsync(broken);
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        Assert.Equal(3, await RunAsync("reencrypt", "--report", Path("poisoned.json"), "--cut-off-timeout", "30"));
        Assert.Equal(3, await RunAsync("verify-report", Path("poisoned.json")));
        Assert.StartsWith("Genuine, but NOT PROVEN: 1 cell(s)", Printed, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Census_with_a_report_proves_again()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 0);
        Assert.Equal(0, await RunAsync("census", "--report", Path("census"), "--cut-off-timeout", "30", "--sample", "3"));
        Assert.Contains("Census report: PROVEN", Printed, StringComparison.Ordinal);
        Assert.Equal(0, await RunAsync("verify-report", Path("census")));
        Assert.True(File.Exists(Path("census.txt")));
        await new EnvelopeKeys(context).RotateAsync(ScopeA);
        Assert.Equal(4, await RunAsync("census", "--report", Path("stale"), "--cut-off-timeout", "30"));
        Assert.Contains("cell(s) still name stale keys", Printed, StringComparison.Ordinal);
        Assert.Equal(2, await RunAsync("census", "--report", Path("bad"), "--sample", "-1"));
        Assert.False(File.Exists(Path("bad")));
        Assert.Equal(0, await RunAsync("census"));
    }

    public void Dispose()
    {
        Directory.Delete(_folder, recursive: true);
        _printed.Dispose();
        GC.SuppressFinalize(this);
    }

    private string Printed => _printed.ToString();

    private string Path(string name) => System.IO.Path.Combine(_folder, name);

    private async Task<int> RunAsync(params string[] words)
    {
        _printed = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Interactive = InteractionSupport.No, Out = new AnsiConsoleOutput(_printed) });
        return await EnvelopeCommandLine.RunAsync(words, () => Live(), console);
    }
}
