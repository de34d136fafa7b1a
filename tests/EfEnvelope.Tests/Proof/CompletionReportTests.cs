using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;
using EfEnvelope.Tests.Reencryption;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Proof;

public sealed class SqliteCompletionReportTests() : CompletionReportTests("SQLite");

public sealed class PostgresCompletionReportTests() : CompletionReportTests("PostgreSQL")
{
    [Fact]
    public async Task Every_changed_byte_is_refused_and_what_is_wrong_is_named()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var json = (await ReportAsync(context)).ToJson();
        var keys = new EnvelopeKeys(context);
        Assert.All(json, c => Assert.InRange(c, ' ', '~'));
        for (var i = 0; i < json.Length; i++)
        {
            var changed = json[..i] + (char)(json[i] == '0' ? '1' : json[i] ^ 1) + json[(i + 1)..];
            var verified = await keys.VerifyReportAsync(changed);
            Assert.False(verified.IsGenuine, $"byte {i}");
            Assert.NotEmpty(verified.Differs);
        }

        foreach (var cut in new[] { 0, 1, json.Length / 2, json.Length - 1 })
        {
            Assert.NotEmpty((await keys.VerifyReportAsync(json[..cut])).Differs);
        }
    }
}

/// <summary>What the job leaves behind for an auditor, and that nobody can write it but the ring.</summary>
public abstract partial class CompletionReportTests(string provider) : LifecycleFixture(provider)
{
    [Fact]
    public async Task A_report_holds_everything_that_an_auditor_asks_for()
    {
        await using var context = New();
        await SeedAsync(context, 6, 3);
        var keys = new EnvelopeKeys(context);
        var old = await KeyAsync(context, ScopeA.Value);
        await keys.RotateAsync(ScopeA, "yearly");
        PassLease();
        var result = await keys.ReencryptAsync(Small with { SampleSize = 2 });
        var report = result.Completion;

        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((CompletionReport.CurrentFormat, CompletionKind.Reencryption, 1), (report.Format, report.Kind, report.EnvelopeVersion));
        Assert.Matches(@"^\d+\.\d+\.\d+", report.LibraryVersion);
        Assert.Equal(context.Database.ProviderName, report.Provider);
        Assert.DoesNotContain('/', report.Database);
        Assert.NotEmpty(report.Database);
        Assert.Equal((await context.Set<EnvelopeRingRow>().AsNoTracking().SingleAsync()).RingId, report.RingId);
        Assert.Equal((result.JobId, result.Rows, result.Conflicts, result.Quarantined), (report.JobId, report.Rows, report.Conflicts, report.Quarantined));
        Assert.NotEqual(Guid.Empty, report.JobId);
        Assert.Equal((6L, 0L, 0L), (report.Rows, report.Conflicts, report.Quarantined));
        Assert.InRange(report.Batches, 1, 10);
        Assert.True(report.StartedAt <= report.FinishedAt);

        // The scope's key by itself, its three row keys together.
        Assert.Equal(2, report.StaleKeys.Count);
        var treated = report.StaleKeys.Single(k => k.Id is not null);
        var retired = await KeyAsync(context, ScopeA.Value);
        Assert.Equal(
            (old.Id, ScopeA.Value, KeyState.Deactivated, "rotated", retired.Reason, 1L, old.CreatedAt, retired.StateChangedAt),
            (treated.Id, treated.Scope, treated.State, treated.Why, treated.Reason, treated.Keys, treated.CreatedAt, treated.RetiredAt));
        var rowKeys = report.StaleKeys.Single(k => k.Id is null);
        Assert.Equal(($"row:*@{ScopeA.Value}", 3L, KeyState.Active, null), (rowKeys.Scope, rowKeys.Keys, rowKeys.State, rowKeys.RetiredAt));

        Assert.True(report.CutOff.IsReached);
        Assert.Equal(60_000, report.CutOff.SealingLeaseMilliseconds);
        Assert.Equal(retired.StateChangedAt, report.CutOff.SealingStoppedAt);
        Assert.Contains("sealing lease", report.CutOff.WaitedFor, StringComparison.Ordinal);

        Assert.Equal(result.Census.TakenAt, report.CensusTakenAt);
        Assert.Equal(result.Census.Cells, report.Census.Sum(c => c.Cells));
        Assert.Contains(report.Census, c => c is { Table: "Customers", Column: "FullName", State: KeyState.Active, Keys: 1, Cells: 3 } && c.Scope == ScopeA.Value && c.KeyId is not null && c.KeyId != old.Id);
        Assert.Contains(report.Census, c => c is { Table: "Cards", Column: "Number", KeyId: null, State: KeyState.Active, Keys: 3, Cells: 3 } && c.Scope == rowKeys.Scope);
        Assert.DoesNotContain(report.Census, c => c.State != KeyState.Active);

        // Every encrypted column of the model stands in the sample, empty or not.
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "FullName", Cells: 6, Sampled: 2, Opened: 2 });
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "Profile", Cells: 6, Sampled: 2, Opened: 2 });
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "Note", Sampled: 2, Opened: 2 });
        Assert.Contains(report.Sample, s => s is { Table: "Ledgers", Column: "Balance", Cells: 0, Sampled: 0 });
        Assert.Empty(report.SampleFailures);

        Assert.True((await keys.VerifyReportAsync(report.ToJson())).IsGenuine);
        var text = report.ToText();
        foreach (var expected in new[] { ": PROVEN", report.JobId.ToString(), old.Id.ToString(), "yearly", "Cut-off: reached", "Customers.FullName", report.Sha256, report.Hmac, report.CensusSha256 })
        {
            Assert.Contains(expected, text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_canonical_form_is_the_same_in_every_culture_and_its_hashes_can_be_checked_with_nothing_but_JSON_and_SHA_256()
    {
        await using var context = New();
        await SeedAsync(context, 2, 1);
        var (before, report) = (CultureInfo.CurrentCulture, await ReportAsync(context));
        var (json, text) = (report.ToJson(), report.ToText());
        try
        {
            CultureInfo.CurrentCulture = CultureInfo.GetCultureInfo("ar-SA");
            Assert.Equal((json, text), (report.ToJson(), report.ToText()));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }

        // As docs/reencryption.md tells it. The reports of these tests hold no character that a serializer might escape.
        using var document = JsonDocument.Parse(json);
        var members = document.RootElement.EnumerateObject().ToList();
        Assert.Equal(members.Select(m => m.Name).Order(StringComparer.Ordinal), members.Select(m => m.Name));
        var hashed = members.Where(m => m.Name is not ("sha256" or "hmac")).ToList();
        Assert.Equal(report.Sha256, Hash("{" + string.Join(',', hashed.Select(m => $"\"{m.Name}\":{m.Value.GetRawText()}")) + "}"));
        foreach (var member in hashed.Where(m => m.Name != "digests"))
        {
            Assert.Equal(document.RootElement.GetProperty("digests").GetProperty(member.Name).GetString(), Hash(member.Value.GetRawText()));
        }

        Assert.Equal(hashed.Count - 1, report.Digests.Count);
        Assert.Equal(report.CensusSha256, Hash(document.RootElement.GetProperty("census").GetRawText()));
        Assert.DoesNotContain("\n", json, StringComparison.Ordinal);
        Assert.True((await new EnvelopeKeys(context).VerifyReportAsync(json + "\n")).IsGenuine);

        static string Hash(string content) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)));
    }

    [Fact]
    public async Task The_member_that_differs_is_named()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var report = await ReportAsync(context);
        var json = report.ToJson();
        await DiffersAsync(json.Replace("\"conflicts\":0", "\"conflicts\":7", StringComparison.Ordinal), "conflicts");
        await DiffersAsync(json.Replace("\"cells\":2", "\"cells\":1", StringComparison.Ordinal), "census");
        await DiffersAsync(json.Replace("\"rotated\"", "\"elsewhere\"", StringComparison.Ordinal), "staleKeys");
        await DiffersAsync(json.Replace("\"isProven\":true", "\"isProven\":false", StringComparison.Ordinal), "isProven");
        await DiffersAsync(json.Replace($"\"rows\":\"{report.Digests["rows"]}\"", $"\"rows\":\"{new string('0', 64)}\"", StringComparison.Ordinal), "digests.rows");
        await DiffersAsync(json.Replace(report.Sha256, new string('0', 64), StringComparison.Ordinal), "sha256");
        await DiffersAsync(json.Replace(report.Hmac, new string('0', 64), StringComparison.Ordinal), "hmac: somebody without the ring's mac key wrote it");
        await DiffersAsync(json.Replace(":{", ": {", StringComparison.Ordinal), "form: not canonical (white space, order, escapes or numbers were changed)");
        await DiffersAsync(json.Replace("\"rows\":", "\"rows\":1,\"rows\":", StringComparison.Ordinal), null);
        await DiffersAsync(json.Replace("\"rows\":", "\"rowz\":", StringComparison.Ordinal), null);
        await DiffersAsync("[]", "form: no JSON object");
        await DiffersAsync("{}", null);
        await DiffersAsync("{\"a\":1.5}", "form: a number or a text that canonical JSON does not have");
        await DiffersAsync("{\"a\":\"\\ud800\"}", "form: a number or a text that canonical JSON does not have");

        async Task DiffersAsync(string changed, string? named)
        {
            Assert.NotEqual(json, changed);
            var verified = await new EnvelopeKeys(context).VerifyReportAsync(changed);
            Assert.Null(verified.Report);
            Assert.Contains("NOT GENUINE", verified.ToText(), StringComparison.Ordinal);
            if (named is null)
            {
                Assert.Contains(verified.Differs, d => d.StartsWith("form:", StringComparison.Ordinal));
            }
            else
            {
                Assert.Equal([named], verified.Differs);
            }
        }
    }

    [Fact]
    public async Task Rows_of_a_run_that_was_stopped_count_for_the_job_and_not_for_the_run_that_ends_it()
    {
        await using var context = New();
        await SeedAsync(context, 40, 0);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        PassLease();
        using var stop = new CancellationTokenSource();
        var few = Small with { BatchSize = 6, DegreeOfParallelism = 1 };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => keys.ReencryptAsync(few, new StopAtOnce(stop), stop.Token));
        var report = (await keys.ReencryptAsync(few with { SampleSize = 1 })).Completion;
        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal((14L, 20L, 0L), (report.Rows, report.JobRows, report.JobConflicts));
        Assert.Contains("20 row(s) by all processes", report.ToText(), StringComparison.Ordinal);

        // One of forty: drawn by chance, never none, never more than was asked for.
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "FullName", Cells: 40, Sampled: 1, Opened: 1 });
        Assert.Contains(report.Sample, s => s is { Table: "Customers", Column: "Profile", Cells: 40, Sampled: 1, Opened: 1 });
    }

    /// <summary>A forger who knows the form computes every hash anew; what he lacks is the ring's mac key.</summary>
    [Fact]
    public async Task A_forged_report_with_fitting_hashes_fails_by_its_HMAC()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var report = await ReportAsync(context);
        var forged = EfEnvelope.Proof.CanonicalReport.Seal(report with { Quarantined = 0, Rows = 4711 }).Report;
        var verified = await new EnvelopeKeys(context).VerifyReportAsync(forged.ToJson());
        Assert.Equal((true, false, true, false), (verified.HashMatches, verified.MacMatches, verified.RingMatches, verified.IsGenuine));
        Assert.StartsWith("hmac", Assert.Single(verified.Differs), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_report_of_another_ring_fails()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var json = (await ReportAsync(context)).ToJson();
        await using var elsewhere = await TestDatabase.CreateAsync(Database.Connect() is Npgsql.NpgsqlConnection ? "PostgreSQL" : "SQLite");
        await using var other = new BankContext(elsewhere.Options());
        await other.Database.EnsureCreatedAsync();
        await SeedAsync(other, 1, 0);
        var verified = await new EnvelopeKeys(other).VerifyReportAsync(json);
        Assert.Equal((true, false, false, false), (verified.HashMatches, verified.MacMatches, verified.RingMatches, verified.IsGenuine));
        Assert.StartsWith("ringId", Assert.Single(verified.Differs), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_cut_off_the_report_says_NOT_PROVEN()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        var report = (await keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.Zero })).Completion;
        Assert.False(report.IsProven);
        Assert.False(report.CutOff.IsReached);
        Assert.Contains("CutOffTimeout is zero", report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains(": NOT PROVEN", report.ToText(), StringComparison.Ordinal);
        Assert.Contains("Cut-off: NOT REACHED", report.ToText(), StringComparison.Ordinal);
        Assert.DoesNotContain(": PROVEN", report.ToText(), StringComparison.Ordinal);
        var verified = await keys.VerifyReportAsync(report.ToJson());
        Assert.True(verified.IsGenuine);
        Assert.StartsWith("Genuine, but NOT PROVEN", verified.ToText(), StringComparison.Ordinal);

        // Seven seconds are less than the lease: what it waited for, and that it was not over, stands there too.
        await keys.RotateAsync(ScopeA);
        report = (await keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.FromSeconds(7) })).Completion;
        Assert.Equal((false, false), (report.IsProven, report.CutOff.IsReached));
        Assert.Contains("later than the job was to wait", report.CutOff.NotReachedBecause, StringComparison.Ordinal);
        Assert.Equal(report.CutOff.NotReachedBecause, report.NotProvenBecause);
    }

    [Fact]
    public async Task No_value_no_key_and_no_credential_stands_in_a_report()
    {
        await using var context = New();
        await SeedAsync(context, 6, 3);
        await RetireAsync(context);
        await using var raw = Database.Connect();
        var report = await new EnvelopeKeys(context).ReportCensusAsync(sampleSize: 100);
        var text = report.ToJson() + report.ToText();
        foreach (var canary in new[] { "Name 0", "canary-ssn", "note 0", "hush 0", "4111-0", "Password", "Username" })
        {
            Assert.DoesNotContain(canary, text, StringComparison.OrdinalIgnoreCase);
        }

        foreach (var entry in await context.Set<EnvelopeKeyRow>().AsNoTracking().ToListAsync())
        {
            Assert.DoesNotContain(Convert.ToBase64String(entry.Wrapped)[..16], text, StringComparison.Ordinal);
            Assert.DoesNotContain(Convert.ToHexString(entry.Wrapped)[..16], text, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    public async Task A_census_report_repeats_the_proof_after_the_destruction_window()
    {
        await using var context = New();
        await SeedAsync(context, 4, 1);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        await keys.DestroyAsync(key.Id, "end of life");
        PassLease();
        var waiting = await keys.ReportCensusAsync();
        Assert.True(waiting.IsProven, waiting.NotProvenBecause);
        Assert.Equal((KeyState.PendingDestruction, "scheduled for destruction"), (waiting.StaleKeys.Single(k => k.Id == key.Id).State, waiting.StaleKeys.Single(k => k.Id == key.Id).Why));
        Database.Time.Advance(TimeSpan.FromDays(31));
        Assert.NotEmpty((await keys.DestroyDueAsync()).Destroyed);

        var after = await keys.ReportCensusAsync();
        Assert.True(after.IsProven, after.NotProvenBecause);
        Assert.Equal((CompletionKind.Census, Guid.Empty), (after.Kind, after.JobId));
        Assert.DoesNotContain(after.StaleKeys, k => k.Id == key.Id);
        Assert.StartsWith("Census report: PROVEN", after.ToText(), StringComparison.Ordinal);
        Assert.True((await keys.VerifyReportAsync(after.ToJson())).IsGenuine);
        Assert.True((await keys.VerifyReportAsync(waiting.ToJson())).IsGenuine);
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.ReportCensusAsync(sampleSize: 1001));
    }

    [Fact]
    public async Task Cells_under_a_key_that_is_scheduled_for_destruction_are_stale()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        await keys.DestroyAsync(key.Id);
        PassLease();
        await PlantAsync(stolen);
        Assert.Equal(1, (await keys.TakeCensusAsync()).StaleCells);
        var report = await keys.ReportCensusAsync();
        Assert.False(report.IsProven);
        Assert.Contains("1 cell(s) still name stale keys", report.NotProvenBecause, StringComparison.Ordinal);
        var job = await keys.ReencryptAsync(Small);
        Assert.False(job.IsProven);
        Assert.Equal(job.NotProvenBecause, job.Completion.NotProvenBecause);
    }

    [Fact]
    public async Task Row_keys_under_a_kek_that_is_scheduled_for_destruction_are_stale()
    {
        await using var context = New();
        await SeedAsync(context, 0, 2);
        var ring = await EnvelopeSession.Of(context).Ring.ListAsync(includeRowKeys: true, EnvelopeSession.Of(context).OpenStore(), default);
        Assert.Empty(StaleKeys.Of(Rings.Summarize(ring)).RowKeys);
        var kek = ring.Single(k => k.Purpose == KeyPurpose.Kek);
        Assert.Equal(2, Assert.Single(StaleKeys.Of(Rings.Summarize([.. ring.Select(k => k.Id == kek.Id ? k with { State = KeyState.PendingDestruction } : k)])).RowKeys).Keys);
    }

    /// <summary>G34 for row keys: the job gives a row a new key, which a process that holds the old one learns of only when it confirms again.</summary>
    [Fact]
    public async Task A_row_key_under_a_rotated_kek_seals_nothing_after_the_lease_and_undoes_no_proof()
    {
        await using var here = New();
        await SeedAsync(here, 0, 2);
        await new EnvelopeKeys(here).RotateAsync(ScopeA);
        PassLease();
        await using var there = New("b");
        var card = await there.Cards.OrderBy(c => c.Id).FirstAsync();
        card.Number = "sealed by whoever has confirmed the ring just now";
        await there.SaveChangesAsync();
        var job = await new EnvelopeKeys(here).ReencryptAsync(Small);
        Assert.True(job.IsProven, job.NotProvenBecause);
        card.Number = "sealed after the proof, within the lease of that confirmation";
        await there.SaveChangesAsync();
        Assert.Equal(0, (await new EnvelopeKeys(here).TakeCensusAsync()).StaleCells);
        Assert.Equal(card.Number, (await New("c").Cards.OrderBy(c => c.Id).FirstAsync()).Number);
    }

    private sealed class StopAtOnce(CancellationTokenSource stop) : IProgress<ReencryptionProgress>
    {
        public void Report(ReencryptionProgress value) => stop.Cancel();
    }

    protected async Task<CompletionReport> ReportAsync(BankContext context)
    {
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        PassLease();
        var report = (await keys.ReencryptAsync(Small)).Completion;
        Assert.True(report.IsProven, report.NotProvenBecause);
        return report;
    }
}
