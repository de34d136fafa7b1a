using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Tests.Lifecycle;

public sealed class SqliteLifecycleVerbTests() : LifecycleVerbTests("SQLite");

public sealed class PostgresLifecycleVerbTests() : LifecycleVerbTests("PostgreSQL");

/// <summary>The verbs at three in the morning: what they print, and their exit codes.</summary>
public abstract class LifecycleVerbTests(string provider) : LifecycleFixture(provider)
{
    private StringWriter _printed = new();

    [Fact]
    public async Task Compromise_ends_with_0_and_keeps_its_report()
    {
        await using var context = Live();
        await SeedAsync(context, 6, 2);
        var folder = Directory.CreateTempSubdirectory("efenvelope-report-").FullName;
        try
        {
            var (dry, path) = (Path.Combine(folder, "dry.json"), Path.Combine(folder, "exposure.json"));

            // As a process that was killed leaves it.
            await File.WriteAllTextAsync(dry, "");
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(dry, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            Assert.Equal(0, await RunAsync("compromise", "--scope", ScopeA.Value, "--dry-run", "--report", dry));
            Assert.NotEmpty(await File.ReadAllTextAsync(dry));
            Assert.Contains("dry run: nothing was changed", Printed, StringComparison.Ordinal);
            Assert.Equal(KeyState.Active, (await KeyAsync(context, ScopeA.Value)).State);

            Assert.Equal(0, await RunAsync("compromise", "--scope", ScopeA.Value, "--reason", "laptop stolen", "--by", "on call", "--report", path, "--proof", Path.Combine(folder, "proof.json"), "--cut-off-timeout", "30"));
            Assert.Contains("reason: laptop stolen, reported by on call", Printed, StringComparison.Ordinal);
            Assert.Contains("Complete: 4 key(s) revoked", Printed, StringComparison.Ordinal);
            using var report = JsonDocument.Parse(await File.ReadAllTextAsync(path));
            Assert.Equal(5, report.RootElement.GetProperty("totalRows").GetInt64());
            if (!OperatingSystem.IsWindows())
            {
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            }

            Assert.Equal(0, await RunAsync("verify-report", Path.Combine(folder, "proof.json")));
            Assert.Contains("Compromised: reported compromised (laptop stolen)", Printed, StringComparison.Ordinal);

            // A report is never overwritten; that is found out before anything is changed.
            var before = await KeyAsync(context, ScopeA.Value, version: 2);
            Assert.Equal(2, await RunAsync("compromise", "--scope", ScopeA.Value, "--reason", "again", "--report", path));
            Assert.Equal(before.State, (await KeyAsync(context, ScopeA.Value, version: 2)).State);
            Assert.Equal(2, await RunAsync("compromise", "--key", Guid.NewGuid().ToString(), "--reason", "typo", "--report", Path.Combine(folder, "none.json")));
            Assert.False(File.Exists(Path.Combine(folder, "none.json")));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Compromise_ends_with_3_while_a_cell_is_in_quarantine_and_with_4_when_it_did_not_wait()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 0);
        var key = (await KeyAsync(context, ScopeA.Value)).Id.ToString();
        var good = await CellAsync("b0");
        var bad = (byte[])good.Clone();
        bad[^1] ^= 1;
        await PlantAsync(bad);
        Assert.Equal(3, await RunAsync("compromise", "--key", key, "--reason", "test", "--cut-off-timeout", "30"));
        Assert.Contains("Not complete", Printed, StringComparison.Ordinal);
        await PlantAsync(good);
        Assert.Equal(4, await RunAsync("compromise", "--key", key, "--reason", "test", "--cut-off-timeout", "0"));
        Assert.Contains("Run the same command again", Printed, StringComparison.Ordinal);
        Assert.Equal(0, await RunAsync("compromise", "--key", key, "--reason", "test", "--cut-off-timeout", "30", "--json"));
        var events = Printed.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        Assert.Equal("started", events[0].GetProperty("event").GetString());
        Assert.Single(events, e => e.GetProperty("event").GetString() == "exposure");
        Assert.Equal("finished", events[^1].GetProperty("event").GetString());
        Assert.True(events[^1].GetProperty("isComplete").GetBoolean());
        Assert.Equal(0, events[^1].GetProperty("exitCode").GetInt32());
        Assert.Equal(2, await RunAsync("compromise", "--key", key, "--reason", "test"));
    }

    [Fact]
    public async Task Compromise_of_a_key_that_is_scheduled_for_destruction_counts_the_cells_that_name_it()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var good = await CellAsync("b0");
        await new EnvelopeKeys(context).DestroyAsync(key.Id);
        PassLease();
        await PlantAsync(stolen);
        Assert.Equal(4, await RunOnTestClockAsync("compromise", "--key", key.Id.ToString(), "--reason", "backup came back"));
        Assert.Contains("Not complete: 1 cell(s)", Printed, StringComparison.Ordinal);
        Assert.Equal((4, "stopped", false), await FinishedAsync());
        await PlantAsync(good);
        Assert.Equal((0, "complete", true), await FinishedAsync());

        async Task<(int ExitCode, string? Outcome, bool IsComplete)> FinishedAsync()
        {
            await RunOnTestClockAsync("compromise", "--key", key.Id.ToString(), "--reason", "backup came back", "--json");
            using var finished = JsonDocument.Parse(Printed.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);
            var root = finished.RootElement;
            return (root.GetProperty("exitCode").GetInt32(), root.GetProperty("outcome").GetString(), root.GetProperty("isComplete").GetBoolean());
        }
    }

    [Theory]
    [InlineData("--key")]
    [InlineData("--scope")]
    [InlineData("--kms-key")]
    [InlineData("--created-before")]
    public async Task Each_way_to_select_keys_marks_those_and_no_other(string selector)
    {
        var former = new InMemoryKeyManagementService();
        Database.KeyService = former;
        await using var context = Live();
        await SeedAsync(context, 1, 2);
        var (field, kek) = (await KeyAsync(context, ScopeA.Value), await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek));
        var before = TimeProvider.System.GetUtcNow();
        context.Add(new Customer { TenantId = TenantB, Branch = "later", FullName = "Name", Ssn = "canary-ssn" });
        await context.SaveChangesAsync();
        var other = await KeyAsync(context, EnvelopeScope.Tenant(TenantB).Value);
        var value = selector switch
        {
            "--key" => kek.Id.ToString(),
            "--scope" => ScopeA.Value,
            "--kms-key" => field.RootKeyId!,
            _ => before.ToString("O"),
        };

        // What a root key wraps can be left once another one is configured.
        Database.KeyService = new TwoRootKeys(new InMemoryKeyManagementService(), former);
        Assert.Equal(0, await RunAsync("compromise", selector, value, "--reason", "test", "--by", "on call", "--mark-only", "--json=true"));

        var events = Printed.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        Assert.Equal(["started", "marked", "finished"], events.Select(e => e.GetProperty("event").GetString()));
        Assert.Equal((0, "marked", false), (events[2].GetProperty("exitCode").GetInt32(), events[2].GetProperty("outcome").GetString(), events[2].GetProperty("isProven").GetBoolean()));
        var marked = events[1].GetProperty("keys").EnumerateArray().Select(k => k.GetProperty("id").GetGuid()).ToList();
        var ring = (await new EnvelopeKeys(context).ListAsync(includeRowKeys: true)).ToDictionary(k => k.Id);
        Assert.Equal(marked.Order(), ring.Values.Where(k => k.State == KeyState.Compromised && !k.Scope.StartsWith("row:", StringComparison.Ordinal)).Select(k => k.Id).Order());
        Assert.Equal(
            (selector != "--key", true, selector == "--kms-key"),
            (marked.Contains(field.Id), marked.Contains(kek.Id), marked.Contains(other.Id)));
        Assert.Equal(("test", "on call"), (ring[kek.Id].Reason, ring[kek.Id].ChangedBy));
        Assert.Equal(KeyState.Active, (await KeyAsync(context, ScopeA.Value, version: 2, purpose: KeyPurpose.Kek)).State);
    }

    [Theory]
    [InlineData("compromise", "--reason", "x")]
    [InlineData("compromise", "--scope", "tenant:1", "--key", "00000000-0000-0000-0000-000000000001", "--reason", "x")]
    [InlineData("compromise", "--scope", "nonsense", "--reason", "x")]
    [InlineData("compromise", "--scope", "tenant:1", "--reason", "x")]
    [InlineData("compromise", "--scope", "tenant:1")]
    [InlineData("compromise", "--key", "no-guid", "--reason", "x")]
    [InlineData("compromise", "--kms-key", "arn:aws:kms:eu-central-1:1:key/none", "--reason", "x")]
    [InlineData("compromise", "--created-before", "yesterday", "--reason", "x")]
    [InlineData("compromise", "--created-before", "05/06/2026", "--reason", "x")]
    [InlineData("compromise", "--created-before", "03:00", "--reason", "x")]
    [InlineData("compromise", "--created-before", "9999-01-01", "--reason", "x")]
    [InlineData("compromise", "--created-before", "1999-01-01", "--reason", "x")]
    [InlineData("revoke")]
    [InlineData("revoke", "--key", "00000000-0000-0000-0000-000000000001")]
    [InlineData("destroy")]
    [InlineData("destroy", "--key", "00000000-0000-0000-0000-000000000001", "--window-days", "6")]
    [InlineData("destroy", "--key", "00000000-0000-0000-0000-000000000001", "--window-days", "NaN")]
    [InlineData("destroy", "--key", "00000000-0000-0000-0000-000000000001", "--due")]
    [InlineData("destroy", "--due", "--window-days", "30")]
    [InlineData("destroy", "--due", "--reason", "x")]
    [InlineData("compromise", "--scope", "global", "--reason", "x", "--mark-only", "--report", "/nowhere/report.json")]
    [InlineData("compromise", "--scope", "global", "--reason", "x", "--mark-only", "--proof", "/nowhere/proof.json")]
    [InlineData("compromise", "--scope", "global", "--dry-run", "--proof", "/nowhere/proof.json")]
    [InlineData("compromise", "--scope", "global", "--reason", "x", "--dry-run", "--mark-only")]
    [InlineData("reencrypt", "--dry-run", "--report", "/nowhere/report.json")]
    [InlineData("cancel-destruction", "--key", "00000000-0000-0000-0000-000000000001")]
    [InlineData("erase", "--scope", "tenant:1", "--reason", "x")]
    [InlineData("erase", "--scope", "global", "--confirm", "global", "--reason", "x")]
    public async Task Bad_input_is_2_and_changes_nothing(params string[] verb)
    {
        await using var context = New();
        await SeedAsync(context, 2, 1);
        Assert.Equal(2, await RunAsync(verb));
        Assert.All(await new EnvelopeKeys(context).ListAsync(includeRowKeys: true), k => Assert.Equal(KeyState.Active, k.State));
    }

    [Fact]
    public async Task Destruction_from_the_schedule_to_the_end()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var id = key.Id.ToString();
        Assert.Equal(0, await RunOnTestClockAsync("destroy", "--key", id, "--reason", "end of life", "--window-days", "10"));
        var due = Database.Time.GetUtcNow() + TimeSpan.FromDays(10);
        Assert.Contains($"scheduled for destruction on {due:u}", Printed, StringComparison.Ordinal);
        Assert.Equal(0, await RunOnTestClockAsync("status"));
        Assert.Contains($"destruction due {due:u}  (end of life)", Printed, StringComparison.Ordinal);
        Assert.Equal(0, await RunOnTestClockAsync("destroy", "--due"));
        Assert.Contains("0 key(s) destroyed, 0 kept, 1 within their window", Printed, StringComparison.Ordinal);
        Assert.Equal(0, await RunOnTestClockAsync("cancel-destruction", "--key", id));
        Assert.Contains("it is Deactivated again", Printed, StringComparison.Ordinal);
        Assert.Equal(2, await RunOnTestClockAsync("cancel-destruction", "--key", id));

        PassLease();
        Assert.Equal(0, await RunOnTestClockAsync("destroy", "--key", id, "--window-days", "7"));
        Database.Time.Advance(TimeSpan.FromDays(8));
        var cell = await CellAsync("b0");
        await PlantAsync(stolen);
        Assert.Equal(4, await RunOnTestClockAsync("destroy", "--due"));
        Assert.Contains("1 cell(s) name it", Printed, StringComparison.Ordinal);
        await PlantAsync(cell);
        Assert.Equal(0, await RunOnTestClockAsync("destroy", "--due"));
        Assert.Contains($"Key {id} of {ScopeA.Value} is destroyed.", Printed, StringComparison.Ordinal);
        Assert.Equal(2, await RunOnTestClockAsync("destroy", "--key", id));
    }

    [Theory]
    [InlineData("revoke")]
    [InlineData("destroy")]
    public async Task A_key_that_may_still_be_in_use_is_told_to_come_again_and_one_in_the_wrong_state_is_not(string verb)
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var id = key.Id.ToString();
        var cell = await CellAsync("b0");
        await PlantAsync(stolen);
        Assert.Equal(4, await RunOnTestClockAsync(verb, "--key", id));
        Assert.Contains("1 cell(s)", Printed, StringComparison.Ordinal);
        await PlantAsync(cell);
        Assert.Equal(0, await RunOnTestClockAsync(verb, "--key", id));
        Assert.Equal(2, await RunOnTestClockAsync(verb, "--key", id));
    }

    [Fact]
    public async Task Erase_asks_for_the_scope_twice()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        Assert.Equal(2, await RunOnTestClockAsync("erase", "--scope", ScopeA.Value, "--confirm", "tenant:other", "--reason", "x"));
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);
        Assert.Equal(0, await RunOnTestClockAsync("erase", "--scope", ScopeA.Value, "--confirm", ScopeA.Value, "--reason", "contract ended"));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => ReadAsync(context));
    }

    private string Printed => _printed.ToString();

    private Task<int> RunAsync(params string[] verb) => RunAsync(() => Live(), verb);

    private Task<int> RunOnTestClockAsync(params string[] verb) => RunAsync(() => New(), verb);

    private Task<int> RunAsync(Func<DbContext> createContext, string[] verb)
    {
        _printed = new StringWriter();
        return EnvelopeCommandLine.RunAsync(verb, createContext, AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(_printed) }));
    }
}
