using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Load;
using Spectre.Console;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteReencryptionPlanTests() : ReencryptionPlanTests("SQLite");

public sealed class PostgresReencryptionPlanTests() : ReencryptionPlanTests("PostgreSQL");

/// <summary>The plan says what the job then does, and changes nothing.</summary>
public abstract class ReencryptionPlanTests(string provider) : IAsyncLifetime
{
    private static readonly string[] AllTables = ["Items", "Cards", "Papers", "Ledgers", "EnvelopeRing", "EnvelopeKeys", "EnvelopeColumns", "EnvelopeJobs", "EnvelopeJobUnits", "EnvelopeQuarantine"];

    private JobDatabase _database = null!;
    private Target _target = null!;

    public async Task InitializeAsync()
    {
        _database = await JobDatabase.CreateAsync(provider);
        _target = _database.Target();
        await Loader.RunAsync(_target, 60, 2, ["Item", "Card"]);
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task It_names_keys_reasons_rows_and_calls_as_the_job_then_finds_them()
    {
        await using var context = _target.CreateContext();
        var keys = new EnvelopeKeys(context);
        var nothing = await keys.PlanReencryptionAsync();
        Assert.Equal((0L, 0, 0, null), (nothing.Rows, nothing.Units, nothing.KeyServiceCalls, nothing.Duration));
        Assert.Contains("nothing to re-encrypt", nothing.ToText(), StringComparison.Ordinal);

        await JobFaultTests.RotateAsync(_target);
        var plan = await keys.PlanReencryptionAsync();

        Assert.Equal([StaleReason.Rotated], plan.Keys.Select(k => k.Reason).Distinct());
        Assert.Equal(60, plan.RowKeys);
        Assert.Equal([("Cards", 60L), ("Items", 60L)], plan.Tables.Select(t => (t.Table, t.Rows)));
        Assert.All(plan.Tables, t => Assert.Equal(["First", "Second"], t.Columns));
        Assert.Equal(120, plan.Keys.Sum(k => k.Cells));
        Assert.Equal(await BytesAsync("Items"), plan.Tables.Single(t => t.Table == "Items").Bytes);
        Assert.True(plan.Duration > TimeSpan.Zero && plan.RowsPerSecond > 0);
        Assert.Empty(plan.Unreadable);
        Assert.True(plan.Units >= 2);
        using var json = JsonDocument.Parse(plan.ToJson());
        Assert.Equal("Rotated", json.RootElement.GetProperty("keys")[0].GetProperty("reason").GetString());

        var report = await keys.ReencryptAsync(JobFaultTests.Small);
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(plan.Rows, report.Rows);
        Assert.Equal(plan.Keys.Where(k => k.Cells > 0).Select(k => k.Id).Order(), report.StaleKeys.Where(id => plan.Keys.Any(k => k.Id == id)).Order());
        Assert.Equal(0, (await keys.PlanReencryptionAsync()).Rows);
    }

    [Fact]
    public async Task A_dry_run_changes_no_table_and_makes_no_key()
    {
        await JobFaultTests.RotateAsync(_target);
        var before = await ContentAsync();
        var text = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Interactive = InteractionSupport.No, Out = new AnsiConsoleOutput(text) });

        Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["reencrypt", "--dry-run"], () => _target.CreateContext(), console));
        Assert.Contains("Items: 60 row(s)", text.ToString(), StringComparison.Ordinal);
        Assert.Contains("nothing was changed", text.ToString(), StringComparison.Ordinal);
        Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["reencrypt", "--dry-run", "--json"], () => _target.CreateContext(), console));

        Assert.Equal(before, await ContentAsync());
    }

    [Fact]
    public async Task The_plan_of_an_empty_ring_makes_no_key()
    {
        await using var database = await JobDatabase.CreateAsync(provider);
        var target = database.Target();
        await using var context = target.CreateContext();
        await context.Database.EnsureCreatedAsync();
        Assert.Equal(0, (await new EnvelopeKeys(context).PlanReencryptionAsync()).Rows);
        await using var connection = target.Connect();
        await connection.OpenAsync();
        foreach (var table in new[] { "EnvelopeRing", "EnvelopeKeys" })
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"SELECT COUNT(*) FROM \"{table}\"";
            Assert.Equal(0L, await command.ExecuteScalarAsync());
        }

        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["reencrypt", "--dry-run", "--expired"], () => target.CreateContext()));
    }

    [Fact]
    public async Task Keys_beyond_their_lifetime_are_planned_and_rotated_on_request_only()
    {
        await using var context = _database.Target(skew: TimeSpan.FromDays(400)).CreateContext();
        var keys = new EnvelopeKeys(context);
        var plan = await keys.PlanReencryptionAsync();
        Assert.NotEmpty(plan.Keys);
        Assert.All(plan.Keys, k => Assert.Equal((StaleReason.Expired, KeyState.Active), (k.Reason, k.State)));
        Assert.Equal(0, plan.Rows);

        var rotated = await keys.RotateExpiredAsync(TimeSpan.FromDays(365), reason: "policy");

        Assert.Equal(plan.Keys.Select(k => $"{k.Scope} {k.Purpose}").Order(StringComparer.Ordinal), rotated.Select(k => $"{k.Scope} {k.Purpose}").Order(StringComparer.Ordinal));
        Assert.Contains(plan.Keys, k => k.Purpose == KeyPurpose.Kek);
        Assert.Equal(120, (await keys.PlanReencryptionAsync()).Rows);
        Assert.Empty(await keys.RotateExpiredAsync(TimeSpan.FromDays(365)));
    }

    [Fact]
    public async Task A_report_that_cannot_be_kept_is_found_out_before_a_key_is_rotated()
    {
        var taken = Path.Combine(_database.Folder, "taken.json");
        await File.WriteAllTextAsync(taken, "somebody's");
        var before = await ContentAsync();
        var later = _database.Target(skew: TimeSpan.FromDays(400));

        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["reencrypt", "--expired", "--report", taken], () => later.CreateContext()));

        Assert.Equal(before, await ContentAsync());
        Assert.Equal("somebody's", await File.ReadAllTextAsync(taken));
    }

    private async Task<long> BytesAsync(string table)
        => Convert.ToInt64(await ScalarAsync(provider == "PostgreSQL" ? $"SELECT SUM(octet_length(\"First\") + octet_length(\"Second\")) FROM \"{table}\"" : $"SELECT SUM(length(\"First\") + length(\"Second\")) FROM \"{table}\""), System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Every row of every table, as text.</summary>
    private async Task<string> ContentAsync()
    {
        await using var connection = _target.Connect();
        await connection.OpenAsync();
        var rows = new List<string>();
        foreach (var table in AllTables)
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"SELECT * FROM \"{table}\"";
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                var values = new object[reader.FieldCount];
                reader.GetValues(values);
                rows.Add($"{table}: {string.Join('|', values.Select(v => v is byte[] bytes ? Convert.ToHexString(bytes) : v.ToString()))}");
            }
        }

        return string.Join('\n', rows.Order(StringComparer.Ordinal));
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
