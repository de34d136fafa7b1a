using System.Text.Json;
using EfEnvelope.Cryptography;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

public sealed class SqliteCompromiseTests() : CompromiseTests("SQLite");

public sealed class PostgresCompromiseTests() : CompromiseTests("PostgreSQL");

/// <summary>The whole response to a compromise, by every selection; and what an attacker, or a crash, finds between its steps.</summary>
public abstract class CompromiseTests(string provider) : LifecycleFixture(provider)
{
    private static readonly CompromiseOptions Options = new() { Reencryption = Small, ReportedBy = "on call" };

    [Fact]
    public async Task One_call_takes_a_key_from_suspicion_to_refusal_and_says_what_it_exposed()
    {
        await using var context = Live();
        await SeedAsync(context, 20, 0);
        var (key, stolen) = (await KeyAsync(context, ScopeA.Value), await CellAsync("b0"));
        ExposureReport? told = null;
        var cellsThen = 0L;
        var keys = new EnvelopeKeys(context);
        var report = await keys.CompromiseAsync(
            KeySelection.Key(key.Id),
            "laptop stolen",
            Options with
            {
                OnExposure = async (exposure, cancellationToken) =>
                {
                    told = exposure;
                    cellsThen = (await new EnvelopeKeys(Live()).TakeCensusAsync(cancellationToken)).CountOf(key.Id);
                },
            });

        Assert.True(report.IsComplete, report.OpenBecause);
        Assert.Equal((1, 0), (report.Revoked, report.Open.Count));
        Assert.Same(told, report.Exposure);
        Assert.Equal(cellsThen, report.Exposure.TotalCells);
        var rows = Assert.Single(report.Exposure.Rows);
        Assert.Equal((ScopeA.Value, "Customers", 10L, key.ActivatedAt), (rows.Scope, rows.Table, rows.Rows, rows.Since));
        Assert.Equal(10, rows.Columns.Single(c => c.Column == "FullName").Cells);
        Assert.Equal(10, rows.Columns.Single(c => c.Column == "Note").Cells);
        Assert.Equal(10, rows.Columns.Single(c => c.Column == "Profile").Cells);
        var exposed = Assert.Single(report.Exposure.Keys);
        Assert.Equal((key.Id, KeyState.Compromised, key.ActivatedAt), (exposed.Id, exposed.State, exposed.ActivatedAt));
        Assert.Equal(("laptop stolen", "on call", false, false), (report.Exposure.Reason, report.Exposure.ReportedBy, report.Exposure.IsDryRun, report.Exposure.IsResumed));

        using var json = JsonDocument.Parse(report.Exposure.ToJson());
        Assert.Equal(10, json.RootElement.GetProperty("rows")[0].GetProperty("rows").GetInt64());
        Assert.Equal("Compromised", json.RootElement.GetProperty("keys")[0].GetProperty("state").GetString());
        Assert.Contains($"{ScopeA.Value}  Customers  10 row(s) since", report.Exposure.ToText(), StringComparison.Ordinal);
        foreach (var text in new[] { report.Exposure.ToJson(), report.Exposure.ToText() })
        {
            Assert.DoesNotContain("canary", text, StringComparison.Ordinal);
            Assert.DoesNotContain("Name 0", text, StringComparison.Ordinal);
        }

        var revoked = await KeyAsync(context, ScopeA.Value);
        Assert.Equal((KeyState.Revoked, exposed.CompromisedAt, "on call"), (revoked.State, revoked.CompromisedAt, revoked.ChangedBy));
        Assert.Equal(Enumerable.Range(0, 20).Select(n => $"Name {n}"), (await Live().Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
        await PlantAsync(stolen);
        Assert.Equal(key.Id, (await Assert.ThrowsAsync<KeyRevokedException>(() => ReadAsync(Live()))).KeyId);
        Assert.Contains("revoked", (await Assert.ThrowsAsync<KeyRevokedException>(() => keys.CompromiseAsync(KeySelection.Key(key.Id), "again"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_scope_goes_with_its_kek_and_the_row_keys_under_it()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 8);
        var keys = new EnvelopeKeys(context);
        var before = (await keys.ListAsync(includeRowKeys: true)).Where(k => k.Scope.Contains(TenantA.ToString(), StringComparison.Ordinal)).Select(k => k.Id).ToHashSet();
        var report = await keys.CompromiseAsync(KeySelection.Scope(ScopeA), "backup lost", Options);
        Assert.True(report.IsComplete, report.OpenBecause);
        Assert.Equal(10, report.Revoked);
        Assert.Equal((2, 8), (report.Exposure.Keys.Count, report.Exposure.RowKeys));
        Assert.Equal([("Cards", 8L), ("Customers", 2L)], report.Exposure.Rows.Select(r => (r.Table, r.Rows)));
        Assert.All(report.Exposure.Rows, r => Assert.Equal(ScopeA.Value, r.Scope));
        var after = await keys.ListAsync(includeRowKeys: true);
        Assert.All(after.Where(k => before.Contains(k.Id)), k => Assert.Equal(KeyState.Revoked, k.State));
        Assert.Equal(Enumerable.Range(0, 8).Select(n => $"4111-{n}"), (await Live().Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
    }

    [Fact]
    public async Task A_key_that_somebody_else_reported_meanwhile_has_its_own_lease_waited_for()
    {
        var (former, current) = (new InMemoryKeyManagementService(), new InMemoryKeyManagementService());
        var formerId = (await former.DescribeRootKeyAsync(default)).RootKeyId;
        Database.KeyService = former;
        await using var old = New();
        await SeedAsync(old, 2, 0);
        Database.KeyService = new TwoRootKeys(current, former);
        await using var operators = New("b");
        var done = false;
        var report = await new EnvelopeKeys(operators).CompromiseAsync(
            KeySelection.KmsKey(formerId), "key policy was open", new CompromiseOptions
            {
                Reencryption = Short with
                {
                    FaultPoint = async step =>
                    {
                        if (step == JobStep.Planned && !done && (done = true))
                        {
                            // The lease of what was marked is over, when a process with the former configuration makes a key, and a second operator reports it.
                            Database.Time.Advance(TimeSpan.FromSeconds(61));
                            await using var transient = new BankContext(Database.Options(e => e.UseKeyManagementService(former).With(o => o with { MaxCachedKeys = 1000 + 'a' })));
                            transient.Add(new Customer { TenantId = Guid.Parse("cccccccc-0000-0000-0000-000000000003"), Branch = "late", FullName = "n", Ssn = "s" });
                            await transient.SaveChangesAsync();
                            await transient.Customers.Where(c => c.Branch == "late").ExecuteDeleteAsync();
                            await using var second = New("c");
                            await new EnvelopeKeys(second).ReportCompromisedAsync(KeySelection.KmsKey(formerId), "me too");
                        }
                    },
                },
            });
        Assert.False(report.IsComplete);
        Assert.Contains("sealing lease ends", report.OpenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Everything_under_a_root_key_goes_once_another_one_is_configured()
    {
        var (former, current) = (new InMemoryKeyManagementService(), new InMemoryKeyManagementService());
        var formerId = (await former.DescribeRootKeyAsync(default)).RootKeyId;
        Database.KeyService = former;
        await using (var context = Live())
        {
            await SeedAsync(context, 6, 3);
            var refused = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(context).CompromiseAsync(KeySelection.KmsKey(formerId), "key policy was open", Options));
            Assert.Contains("Nothing was changed", refused.Message, StringComparison.Ordinal);
            Assert.DoesNotContain(await new EnvelopeKeys(context).ListAsync(includeRowKeys: true), k => k.State != KeyState.Active);
        }

        Database.KeyService = new TwoRootKeys(current, former);
        await using var operators = Live();
        var keys = new EnvelopeKeys(operators);
        var report = await keys.CompromiseAsync(KeySelection.KmsKey(formerId), "key policy was open", Options);
        Assert.True(report.IsComplete, report.OpenBecause);
        Assert.Equal([("Cards", 3L), ("Customers", 3L), ("Customers", 3L)], report.Exposure.Rows.OrderBy(r => r.Table, StringComparer.Ordinal).Select(r => (r.Table, r.Rows)));

        // The ring's own mac key was wrapped by it too: said, not hidden.
        Assert.Equal(KeyPurpose.Mac, Assert.Single(report.Exposure.NotCovered).Purpose);
        Assert.Contains("NOT COVERED", report.Exposure.ToText(), StringComparison.Ordinal);
        var ring = await keys.ListAsync(includeRowKeys: true);
        Assert.All(ring.Where(k => k.RootKeyId == formerId && k.Purpose != KeyPurpose.Mac), k => Assert.Equal(KeyState.Revoked, k.State));
        Assert.DoesNotContain(ring, k => k.State == KeyState.Active && k.RootKeyId == formerId && k.Purpose != KeyPurpose.Mac);
        Assert.Equal(6, (await Live().Customers.AsNoTracking().ToListAsync()).Count);
        Assert.Contains("--created-before", (await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.CompromiseAsync(KeySelection.KmsKey("arn:aws:kms:unknown"), "typo"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_of_before_a_time_go_and_younger_ones_stay()
    {
        await using var context = Live();
        await SeedAsync(context, 4, 2);
        var keys = new EnvelopeKeys(context);
        var time = (await keys.ListAsync(includeRowKeys: true)).Max(k => k.CreatedAt).AddTicks(1);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantB));
        var young = await KeyAsync(context, EnvelopeScope.Tenant(TenantB).Value, version: 2);
        var report = await keys.CompromiseAsync(KeySelection.CreatedBefore(time), "a former employee kept a copy", Options);
        Assert.True(report.IsComplete, report.OpenBecause);
        var ring = (await keys.ListAsync(includeRowKeys: true)).Where(k => k.Purpose != KeyPurpose.Mac).ToList();
        Assert.All(ring.Where(k => k.CreatedAt < time), k => Assert.Equal(KeyState.Revoked, k.State));
        Assert.Equal(KeyState.Active, ring.Single(k => k.Id == young.Id).State);
        Assert.Equal(4, (await Live().Customers.AsNoTracking().ToListAsync()).Count);
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.CompromiseAsync(KeySelection.CreatedBefore(TimeProvider.System.GetUtcNow().AddMinutes(5)), "typo"));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.PreviewCompromiseAsync(KeySelection.CreatedBefore(TimeProvider.System.GetUtcNow().AddMinutes(5))));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.CompromiseAsync(KeySelection.CreatedBefore(DateTimeOffset.UnixEpoch), "typo"));
    }

    [Fact]
    public async Task A_dry_run_counts_and_changes_nothing()
    {
        await using var context = New();
        await SeedAsync(context, 6, 4);
        var keys = new EnvelopeKeys(context);
        var before = await RingAsync();
        var preview = await keys.PreviewCompromiseAsync(KeySelection.Scope(ScopeA));
        Assert.Equal((true, 7L, 4), (preview.IsDryRun, preview.TotalRows, preview.RowKeys));
        Assert.All(preview.Keys, k => Assert.Null(k.CompromisedAt));
        Assert.Equal(before, await RingAsync());
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.PreviewCompromiseAsync(KeySelection.Key(Guid.NewGuid())));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.CompromiseAsync(KeySelection.Scope(EnvelopeScope.Tenant(7)), "typo"));
        await Assert.ThrowsAsync<ArgumentException>(() => keys.CompromiseAsync(KeySelection.Scope(ScopeA), " "));
        Assert.Equal(before, await RingAsync());
    }

    [Fact]
    public async Task A_cell_in_quarantine_keeps_its_key_open_and_the_same_call_ends_it_later()
    {
        await using var context = Live();
        await SeedAsync(context, 6, 0);
        var key = await KeyAsync(context, ScopeA.Value);
        var good = await CellAsync("b0");
        var bad = (byte[])good.Clone();
        bad[^1] ^= 1;
        await PlantAsync(bad);
        var keys = new EnvelopeKeys(context);
        var report = await keys.CompromiseAsync(KeySelection.Key(key.Id), "test", Options);
        Assert.Equal((false, 0, 1L), (report.IsComplete, report.Revoked, report.Reencryption.Quarantined));
        Assert.Equal(key.Id, Assert.Single(report.Open));
        Assert.Equal(KeyState.Compromised, (await KeyAsync(context, ScopeA.Value)).State);

        await PlantAsync(good);
        var again = await keys.CompromiseAsync(KeySelection.Key(key.Id), "test", Options);
        Assert.True(again.IsComplete, again.OpenBecause);
        Assert.True(again.Exposure.IsResumed);
        Assert.Equal("Name 0", (await ReadAsync(Live())).FullName);
    }

    [Fact]
    public async Task A_key_whose_destruction_is_scheduled_and_that_cells_name_again_is_not_at_its_end()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        await keys.DestroyAsync(key.Id);
        PassLease();

        // A backup came back.
        await PlantAsync(stolen);
        var report = await keys.CompromiseAsync(KeySelection.Key(key.Id), "backup came back", Options);
        Assert.False(report.IsComplete);
        Assert.Contains("1 cell(s) name 1 of the keys", report.OpenBecause, StringComparison.Ordinal);
        Assert.Contains("scheduled for destruction", report.OpenBecause, StringComparison.Ordinal);
        Assert.Equal((0L, 0L, 0), (report.Revoked, report.OpenTotal, report.Open.Count));

        // Beside keys that come to their end: the one that replaced it, and the other tenant's.
        report = await keys.CompromiseAsync(KeySelection.CreatedBefore(Database.Time.GetUtcNow()), "backup came back", Options with { Reencryption = Small with { FaultPoint = PassAsync } });
        Assert.Contains("1 cell(s) name 1 of the keys", report.OpenBecause, StringComparison.Ordinal);
        Assert.Equal((false, 2L, 0L, 0), (report.IsComplete, report.Revoked, report.OpenTotal, report.Open.Count));

        ValueTask PassAsync(JobStep step)
        {
            if (step == JobStep.Worked)
            {
                PassLease();
            }

            return ValueTask.CompletedTask;
        }
    }

    [Fact]
    public async Task Two_responses_at_once_both_end_and_nothing_is_lost()
    {
        await using var context = Live();
        await SeedAsync(context, 40, 4);
        var key = await KeyAsync(context, ScopeA.Value);
        await using var other = Live("b");
        var reports = await Task.WhenAll(
            Task.Run(() => new EnvelopeKeys(context).CompromiseAsync(KeySelection.Key(key.Id), "first", Options)),
            Task.Run(() => new EnvelopeKeys(other).CompromiseAsync(KeySelection.Scope(ScopeA), "second", Options)));
        Assert.All(reports, r => Assert.True(r.IsComplete, r.OpenBecause));
        var ring = await new EnvelopeKeys(context).ListAsync(includeRowKeys: true);
        Assert.Single(ring, k => k.Scope == ScopeA.Value && k.Purpose == KeyPurpose.Field && k.State == KeyState.Active);
        Assert.DoesNotContain(ring, k => k.State == KeyState.Compromised);
        Assert.Equal(40, (await Live().Customers.AsNoTracking().ToListAsync()).Count);
        Assert.Equal(4, (await Live().Cards.AsNoTracking().ToListAsync()).Count);
    }

    [Fact]
    public async Task Without_the_key_service_sealing_stops_all_the_same_and_goes_on_with_a_new_key_when_it_is_back()
    {
        var kms = new ScriptedKeyService();
        Database.KeyService = kms;
        await using var context = Live();
        await SeedAsync(context, 4, 0);
        var key = await KeyAsync(context, ScopeA.Value);
        var keys = new EnvelopeKeys(context);
        kms.Failure = () => new KeyUnavailableException("down (injected)");
        await Assert.ThrowsAsync<KeyUnavailableException>(() => keys.CompromiseAsync(KeySelection.Key(key.Id), "test", Options));
        Assert.Equal(KeyState.Compromised, (await KeyAsync(context, ScopeA.Value)).State);
        context.Add(new Customer { TenantId = TenantA, Branch = "new", FullName = "n", Ssn = "s" });
        await Assert.ThrowsAsync<KeyUnavailableException>(() => context.SaveChangesAsync());
        Assert.Equal("Name 0", (await ReadAsync(context)).FullName);

        kms.Failure = null;
        await context.SaveChangesAsync();
        Assert.NotEqual(key.Id, await KeyOfCellAsync("new"));
        var report = await keys.CompromiseAsync(KeySelection.Key(key.Id), "test", Options);
        Assert.True(report.IsComplete, report.OpenBecause);
    }

    [Fact]
    public async Task A_process_that_dies_after_each_commit_leaves_nothing_that_seals_with_the_key()
    {
        await using var dying = await new RingProcess(Database, Database.KeyService).CreateAsync();
        await using var other = new RingProcess(Database, dying.Kms);
        var key = await other.SealAsync("tenant:1");
        dying.Store.DieAfterChange = () => new InvalidOperationException("killed (injected)");
        await Assert.ThrowsAsync<InvalidOperationException>(() => dying.CompromiseAsync(key));
        other.Time.Advance(TimeSpan.FromSeconds(61));
        var next = await other.SealAsync("tenant:1");
        Assert.NotEqual(key, next);
        Assert.Equal(key, await other.OpenAsync(key));

        // A rotation that dies after its commit leaves the former version marked: the job finds its rows.
        await Assert.ThrowsAsync<InvalidOperationException>(() => dying.RotateAsync("tenant:1"));
        var ring = await other.Ring.ListAsync(includeRowKeys: false, other.Store, default);
        Assert.Equal(KeyState.Deactivated, ring.Single(e => e.Id == next).State);
        Assert.Single(ring, e => e.Scope == "tenant:1" && e.State == KeyState.Active);

        // The next process takes the response up where it stopped.
        await using var second = new RingProcess(Database, dying.Kms);
        Assert.Empty(await second.CompromiseAsync(key));
    }

    [Fact]
    public async Task Row_keys_under_a_compromised_kek_do_not_seal_even_before_their_own_rows_say_so()
    {
        await using var context = New();
        await SeedAsync(context, 0, 3);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        var old = (await new EnvelopeKeys(context).ListAsync(includeRowKeys: true)).Where(k => k.KekId == kek.Id).Select(k => k.Id).ToHashSet();
        await using var elsewhere = New("b");
        var card = await elsewhere.Cards.OrderBy(c => c.Id).FirstAsync();

        // The reporter marks the kek and is gone.
        await using (var reporter = new RingProcess(Database, Database.KeyService))
        {
            await reporter.ChangeAsync(kek.Id, KeyState.Compromised);
        }

        PassLease();
        card.Number = "written by a process that held the key";
        await elsewhere.SaveChangesAsync();
        await using var cold = New("c");
        var cards = await cold.Cards.OrderBy(c => c.Id).ToListAsync();
        cards[1].Number = "written by a process that did not";
        await cold.SaveChangesAsync();
        var all = (await new EnvelopeKeys(context).ListAsync(includeRowKeys: true)).Where(k => k.KekId is not null).Select(k => k.Id).ToList();
        var census = await new EnvelopeKeys(context).TakeCensusAsync(all);
        var named = census.Entries.Where(e => e.Table == "Cards" && e.Column == "Number").Select(e => e.KeyId!.Value).ToList();
        Assert.Equal(3, named.Count);
        Assert.Single(named, old.Contains);
        Assert.Equal(["written by a process that held the key", "written by a process that did not", "4111-2"], (await New("d").Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
    }

    [Fact]
    public async Task A_planted_ring_row_does_not_stop_the_response_to_another_keys_compromise()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var victim = await KeyAsync(context, EnvelopeScope.Tenant(TenantB).Value);
        var key = await KeyAsync(context, ScopeA.Value);
        await Database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET \"Reason\" = 'planted' WHERE {IdIs(victim.Id)}");
        Assert.Equal(key.Id, Assert.Single(await new EnvelopeKeys(context).ReportCompromisedAsync(ScopeA, "test"), k => k.Purpose == KeyPurpose.Field).Id);
        Assert.Equal(victim.Id, Assert.Single((await new EnvelopeKeys(context).PreviewCompromiseAsync(KeySelection.Scope(ScopeA))).TamperedRingRows));
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).ReportCompromisedAsync(victim.Id, "test"));
    }

    private async Task<string> RingAsync()
    {
        await using var process = new RingProcess(Database, Database.KeyService);
        return string.Join("\n", (await process.Ring.ListAsync(includeRowKeys: true, process.Store, default)).Select(e => $"{e.Id} {e.State} {e.Revision}"));
    }
}
