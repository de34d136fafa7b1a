using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

public sealed class SqliteDestructionTests() : DestructionTests("SQLite");

public sealed class PostgresDestructionTests() : DestructionTests("PostgreSQL");

/// <summary>The end of a key: a window that can be cancelled, gated twice by the census (G15), and authenticated in the ring (G13).</summary>
public abstract partial class DestructionTests(string provider) : LifecycleFixture(provider)
{
    [Fact]
    public async Task A_key_waits_its_window_unusable_and_is_destroyed_after_it()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        var scheduled = await keys.DestroyAsync(key.Id, "end of life");
        Assert.Equal((KeyState.PendingDestruction, Database.Time.GetUtcNow() + TimeSpan.FromDays(30)), (scheduled.State, scheduled.DestructionDueAt));
        await PlantAsync(stolen);
        Assert.Equal(key.Id, (await Assert.ThrowsAsync<KeyRevokedException>(() => ReadAsync(New()))).KeyId);
        Assert.Equal("Name 2", (await ReadAsync(New(), "b2")).FullName);
        await PlantAsync(await CellAsync("b2"));

        Database.Time.Advance(TimeSpan.FromDays(29));
        var early = await keys.DestroyDueAsync();
        Assert.Equal((0, 0, 1), (early.Destroyed.Count, early.Kept.Count, early.Waiting));
        Assert.NotEmpty(await WrappedAsync(key.Id));

        Database.Time.Advance(TimeSpan.FromDays(1));
        var done = await keys.DestroyDueAsync();
        Assert.Equal(key.Id, Assert.Single(done.Destroyed).Id);
        Assert.Empty(await WrappedAsync(key.Id));
        await PlantAsync(stolen);
        Assert.Equal(key.Id, (await Assert.ThrowsAsync<KeyDestroyedException>(() => ReadAsync(New()))).KeyId);
        await Assert.ThrowsAsync<KeyDestroyedException>(() => keys.DestroyAsync(key.Id));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => keys.ReportCompromisedAsync(key.Id, "late"));
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.CancelDestructionAsync(key.Id));
    }

    [Fact]
    public async Task An_operators_process_with_a_short_lease_waits_for_the_longest_lease_of_the_applications()
    {
        await using (var application = new BankContext(Database.Options(e => e.With(o => o with { SealingLease = TimeSpan.FromMinutes(10) }))))
        {
            await SeedAsync(application, 2, 0);
        }

        await using var context = new BankContext(Database.Options(e => e.With(o => o with { SealingLease = TimeSpan.FromSeconds(1) })));
        var keys = new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.Zero };
        await keys.RotateAsync(ScopeA);
        Database.Time.Advance(TimeSpan.FromMinutes(25));
        var report = await keys.ReencryptAsync(Small with { CutOffTimeout = TimeSpan.FromSeconds(1) });
        Assert.False(report.IsProven);
        Assert.Equal(600_000, report.Completion.CutOff.SealingLeaseMilliseconds);
        var key = await KeyAsync(context, ScopeA.Value);
        foreach (var end in new[] { () => keys.RevokeAsync(key.Id), () => keys.DestroyAsync(key.Id) })
        {
            Assert.Contains("sealing lease ends in", (await Assert.ThrowsAsync<KeyInUseException>(end)).Message, StringComparison.Ordinal);
        }

        await keys.ReportCompromisedAsync(key.Id, "stolen");
        var compromise = await keys.CompromiseAsync(KeySelection.Key(key.Id), "stolen", new CompromiseOptions { Reencryption = Small with { CutOffTimeout = TimeSpan.FromSeconds(1) } });
        Assert.Contains("sealing lease ends in", compromise.OpenBecause, StringComparison.Ordinal);
        Database.Time.Advance(TimeSpan.FromMinutes(31));
        Assert.Equal(KeyState.Revoked, (await new EnvelopeKeys(context).RevokeAsync(key.Id)).State);
    }

    [Fact]
    public async Task A_planted_row_blocks_destruction_when_it_is_scheduled_and_again_when_it_is_due()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        await PlantAsync(stolen);
        var refused = await Assert.ThrowsAsync<KeyInUseException>(() => keys.DestroyAsync(key.Id));
        Assert.Equal(key.Id, refused.KeyId);
        Assert.Equal(KeyState.Deactivated, (await KeyAsync(context, ScopeA.Value)).State);

        await PlantAsync(await CellAsync("b2"));
        await keys.DestroyAsync(key.Id);
        await PlantAsync(stolen);
        Database.Time.Advance(TimeSpan.FromDays(31));
        var report = await keys.DestroyDueAsync();
        var kept = Assert.Single(report.Kept);
        Assert.Equal((key.Id, 1L, 0), (kept.Key.Id, kept.Cells, report.Destroyed.Count));
        Assert.NotEmpty(await WrappedAsync(key.Id));

        // The way out that the report names: the value is brought back and re-encrypted.
        Assert.Equal(KeyState.Deactivated, (await keys.CancelDestructionAsync(key.Id)).State);
        Assert.Equal("Name 0", (await ReadAsync(New())).FullName);
        PassLease();
        Assert.True((await keys.ReencryptAsync(Small)).IsProven);
        await keys.DestroyAsync(key.Id);
        Database.Time.Advance(TimeSpan.FromDays(31));
        Assert.Single((await keys.DestroyDueAsync()).Destroyed);
    }

    [Fact]
    public async Task A_cancelled_key_is_what_it_was_and_never_seals()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, stolen) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        await keys.RevokeAsync(key.Id, "test");
        PassLease();
        await keys.DestroyAsync(key.Id);
        var cancelled = await keys.CancelDestructionAsync(key.Id, "still needed");
        Assert.Equal((KeyState.Revoked, null, "still needed"), (cancelled.State, cancelled.DestructionDueAt, cancelled.Reason));
        await PlantAsync(stolen);
        await Assert.ThrowsAsync<KeyRevokedException>(() => ReadAsync(New()));
        context.Add(new Customer { TenantId = TenantA, Branch = "new", FullName = "n", Ssn = "s" });
        await context.SaveChangesAsync();
        Assert.NotEqual(key.Id, await KeyOfCellAsync("new"));
        Database.Time.Advance(TimeSpan.FromDays(31));
        Assert.Empty((await keys.DestroyDueAsync()).Destroyed);
    }

    [Fact]
    public async Task A_key_that_is_reported_compromised_while_its_destruction_is_pending_does_not_come_back_trusted()
    {
        await using var context = New();
        await SeedAsync(context, 4, 0);
        var (key, _) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        var due = (await keys.DestroyAsync(key.Id)).DestructionDueAt;
        var marked = Assert.Single(await keys.ReportCompromisedAsync(key.Id, "found in a log"));
        Assert.Equal((KeyState.PendingDestruction, due), (marked.State, marked.DestructionDueAt));
        Assert.NotNull(marked.CompromisedAt);
        Assert.Empty(await keys.ReportCompromisedAsync(key.Id, "again"));
        Assert.Equal(KeyState.Compromised, (await keys.CancelDestructionAsync(key.Id)).State);
    }

    [Fact]
    public async Task A_kek_is_kept_while_a_cell_names_a_row_key_under_it_and_takes_them_with_it()
    {
        await using var context = New();
        await SeedAsync(context, 0, 6);
        var keys = new EnvelopeKeys(context);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        var active = await Assert.ThrowsAsync<KeyRevokedException>(() => keys.DestroyAsync(kek.Id));
        Assert.Contains("Active", active.Message, StringComparison.Ordinal);
        await keys.RotateAsync(ScopeA);
        PassLease();
        await Assert.ThrowsAsync<KeyInUseException>(() => keys.DestroyAsync(kek.Id));
        await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(kek.Id));
        Assert.Equal(6, await context.Cards.AsNoTracking().CountAsync());

        Assert.True((await keys.ReencryptAsync(Small)).IsProven);

        // Row keys that would still seal stop first; whoever does not wait for the lease is told to come again.
        var early = await Assert.ThrowsAsync<KeyInUseException>(() => new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.Zero }.DestroyAsync(kek.Id));
        Assert.Contains("The row keys under it seal no more", early.Message, StringComparison.Ordinal);
        PassLease();
        await keys.DestroyAsync(kek.Id, "old", TimeSpan.FromDays(7));
        var rowKeys = (await keys.ListAsync(includeRowKeys: true)).Where(k => k.KekId == kek.Id).ToList();
        Assert.Equal(6, rowKeys.Count);
        Assert.All(rowKeys, k => Assert.Equal(KeyState.PendingDestruction, k.State));
        Database.Time.Advance(TimeSpan.FromDays(8));
        Assert.Equal(7, (await keys.DestroyDueAsync()).Destroyed.Count);
        Assert.Equal(Enumerable.Range(0, 6).Select(n => $"4111-{n}"), (await New().Cards.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.Number));
    }

    [Fact]
    public async Task A_kek_is_kept_while_a_cell_names_a_row_key_under_it_that_was_taken_back_by_itself()
    {
        await using var context = New();
        await SeedAsync(context, 0, 3);
        var stolen = (byte[])(await Database.ScalarAsync("SELECT \"Number\" FROM \"Cards\" WHERE \"Label\" = 'c0'"))!;
        Assert.True(EnvelopeCodec.TryReadKeyId(stolen, out var rowKey));
        var keys = new EnvelopeKeys(context);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        await keys.RotateAsync(ScopeA);
        PassLease();
        Assert.True((await keys.ReencryptAsync(Small)).IsProven);
        await Assert.ThrowsAsync<KeyInUseException>(() => new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.Zero }.DestroyAsync(kek.Id));
        PassLease();
        await keys.DestroyAsync(kek.Id);

        // A row comes back from a backup, and its key is asked for, not knowing of the kek.
        await Database.ExecuteAsync($"UPDATE \"Cards\" SET \"Number\" = {Blob(stolen)} WHERE \"Label\" = 'c0'");
        Assert.Equal(KeyState.Deactivated, (await keys.CancelDestructionAsync(rowKey)).State);
        Database.Time.Advance(TimeSpan.FromDays(31));
        var report = await keys.DestroyDueAsync();
        Assert.Equal((kek.Id, 2), (Assert.Single(report.Kept).Key.Id, report.Destroyed.Count));
        await keys.CancelDestructionAsync(kek.Id);
        Assert.Equal("4111-0", (await New("b").Cards.AsNoTracking().SingleAsync(c => c.Label == "c0")).Number);
    }

    [Theory]
    [InlineData("cancel")]
    [InlineData("schedule")]
    [InlineData("schedule, cancel")]
    [InlineData("destroy")]
    [InlineData("revoke")]
    [InlineData("compromise")]
    [InlineData("erase")]
    public async Task A_call_that_ended_between_two_pages_is_finished_by_the_next(string verb)
    {
        const int rows = 501;
        await using var context = New();
        await SeedAsync(context, 0, rows);
        var keys = new EnvelopeKeys(context);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        var last = $"\"Id\" = (SELECT \"Id\" FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL ORDER BY \"Id\" DESC LIMIT 1)";
        if (verb is not ("compromise" or "erase"))
        {
            await context.Cards.ExecuteDeleteAsync();
            await keys.RotateAsync(ScopeA);
            PassLease();
            await Assert.ThrowsAsync<KeyInUseException>(() => new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.Zero }.DestroyAsync(kek.Id));
            PassLease();
        }

        if (verb is "cancel" or "destroy")
        {
            await keys.DestroyAsync(kek.Id);
        }

        Database.Time.Advance(verb == "destroy" ? TimeSpan.FromDays(31) : TimeSpan.Zero);
        Func<Task> call = verb switch
        {
            "cancel" => () => keys.CancelDestructionAsync(kek.Id),
            "destroy" => () => keys.DestroyDueAsync(),
            "revoke" => () => keys.RevokeAsync(kek.Id),
            "compromise" => () => keys.ReportCompromisedAsync(kek.Id, "stolen"),
            "erase" => () => keys.EraseAsync(ScopeA, "asked for"),
            _ => () => keys.DestroyAsync(kek.Id),
        };

        // The first page is committed, and the last key cannot be written: there the call ends.
        await Database.ExecuteAsync(IsPostgres
            ? $"""
              CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'pulled the plug'; END $$;
              DO $$ BEGIN EXECUTE format('CREATE TRIGGER plug BEFORE UPDATE ON "EnvelopeKeys" FOR EACH ROW WHEN (OLD."Id" = %L::uuid) EXECUTE FUNCTION refuse()', (SELECT "Id" FROM "EnvelopeKeys" WHERE {last})); END $$;
              """
            : $"CREATE TRIGGER plug BEFORE UPDATE ON \"EnvelopeKeys\" WHEN OLD.\"Id\" = '{await Database.ScalarAsync($"SELECT \"Id\" FROM \"EnvelopeKeys\" WHERE {last}")}' BEGIN SELECT RAISE(ABORT, 'pulled the plug'); END");
        await Assert.ThrowsAsync<KeyUnavailableException>(call);
        await Database.ExecuteAsync(IsPostgres ? "DROP TRIGGER plug ON \"EnvelopeKeys\"" : "DROP TRIGGER plug");
        var half = await keys.CountRowKeysAsync();
        Assert.Equal(2, half.Count);
        Assert.Equal(1, half.Values.Min());

        PassLease();
        await (verb == "schedule, cancel" ? keys.CancelDestructionAsync(kek.Id) : call());
        var (state, of) = verb switch
        {
            "destroy" or "erase" => (KeyState.Destroyed, KeyState.Destroyed),
            "revoke" => (KeyState.Revoked, KeyState.Revoked),
            "compromise" => (KeyState.Compromised, KeyState.Compromised),
            "schedule" => (KeyState.PendingDestruction, KeyState.PendingDestruction),
            _ => (KeyState.Deactivated, KeyState.Deactivated),
        };
        Assert.Equal(state, (await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek)).State);
        Assert.Equal((of, (long)rows), Assert.Single(await keys.CountRowKeysAsync()) is var all ? (all.Key, all.Value) : default);
        if (verb.EndsWith("cancel", StringComparison.Ordinal))
        {
            await Assert.ThrowsAsync<KeyRevokedException>(() => keys.CancelDestructionAsync(kek.Id));
        }
    }

    [Fact]
    public async Task More_row_keys_than_are_named_are_worked_through_to_the_last()
    {
        const int rows = ChangedEntries.MaxRowKeys + 60;
        await using var context = New();
        await SeedAsync(context, 0, rows);
        var keys = new EnvelopeKeys(context);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);

        // Reported, in pages; and again, which finds nothing to do.
        var marked = await keys.ReportCompromisedAsync(kek.Id, "stolen");
        Assert.Equal((1L + rows, (long)rows, 1 + ChangedEntries.MaxRowKeys), (marked.Total, marked.RowKeys, marked.Count));
        Assert.Equal(0, (await keys.ReportCompromisedAsync(kek.Id, "stolen")).Total);
        Assert.Equal(rows, (await keys.PreviewCompromiseAsync(KeySelection.Key(kek.Id))).RowKeys);
        PassLease();

        // All of them are named: they open on, and the first are told.
        var early = await keys.CompromiseAsync(KeySelection.Key(kek.Id), "stolen", new CompromiseOptions { Reencryption = Small with { CutOffTimeout = TimeSpan.Zero } });
        Assert.Equal((false, 0L, 1L + rows, 1 + ChangedEntries.MaxRowKeys), (early.IsComplete, early.Revoked, early.OpenTotal, early.Open.Count));
        PassLease();
        var whole = await keys.CompromiseAsync(KeySelection.Key(kek.Id), "stolen", new CompromiseOptions { Reencryption = Small });
        Assert.Equal((true, 1L + rows, 0L), (whole.IsComplete, whole.Revoked, whole.OpenTotal));
        Assert.Equal(rows, (await keys.CountRowKeysAsync())[KeyState.Revoked]);

        // Scheduled, and a stolen cell planted under one of them: it and the kek are kept, the others go.
        PassLease();
        var stolen = (byte[])(await Database.ScalarAsync("SELECT \"Number\" FROM \"Cards\" WHERE \"Label\" IS NOT NULL LIMIT 1"))!;
        await keys.DestroyAsync(kek.Id, "old", TimeSpan.FromDays(7));
        Assert.Equal(rows, (await keys.CountRowKeysAsync())[KeyState.PendingDestruction]);
        Assert.Equal(1 + rows, (await keys.DestroyDueAsync()).Waiting);
        Database.Time.Advance(TimeSpan.FromDays(8));
        var named = (await keys.ListAsync(includeRowKeys: true)).First(k => k.KekId == kek.Id);
        named.Id.ToByteArray(bigEndian: true).CopyTo(stolen, 3);
        await Database.ExecuteAsync($"UPDATE \"Cards\" SET \"Number\" = {Blob(stolen)} WHERE \"Label\" = 'c1'");
        var kept = await keys.DestroyDueAsync();
        Assert.Equal((rows - 1L, 2L, 0), (kept.Destroyed.Total, kept.KeptTotal, kept.Waiting));
        Assert.Equal(new[] { named.Id, kek.Id }.Order(), kept.Kept.Select(k => k.Key.Id).Order());
        await Database.ExecuteAsync("DELETE FROM \"Cards\" WHERE \"Label\" = 'c1'");
        Assert.Equal((2L, 0L), await keys.DestroyDueAsync() is var done ? (done.Destroyed.Total, done.KeptTotal) : default);
        Assert.Equal(rows, (await keys.CountRowKeysAsync())[KeyState.Destroyed]);

        // The rows' new keys, erased with their tenant.
        var erased = await keys.EraseAsync(ScopeA, "asked for");
        Assert.Equal((long)rows, erased.RowKeys);
        Assert.Equal(2 * rows, (await keys.CountRowKeysAsync())[KeyState.Destroyed]);
    }

    [Fact]
    public async Task A_kek_ends_though_a_cell_of_a_backup_names_a_destroyed_row_key_under_it()
    {
        await using var context = New();
        await SeedAsync(context, 0, 1);
        var stolen = (byte[])(await Database.ScalarAsync("SELECT \"Number\" FROM \"Cards\""))!;
        Assert.True(EnvelopeCodec.TryReadKeyId(stolen, out var rowKey));
        var keys = new EnvelopeKeys(context);
        await keys.RotateAsync(ScopeA);
        Assert.True((await keys.ReencryptAsync(Small)).IsProven);
        await keys.ReportCompromisedAsync(rowKey, "test");
        await keys.DestroyAsync(rowKey);
        Database.Time.Advance(TimeSpan.FromDays(31));
        Assert.Equal(rowKey, Assert.Single((await keys.DestroyDueAsync()).Destroyed).Id);
        await Database.ExecuteAsync($"UPDATE \"Cards\" SET \"Number\" = {Blob(stolen)}");

        // It opens no more, and no job can move it: nothing is kept by keeping the kek.
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        Assert.Equal(1, (await keys.TakeCensusAsync()).CountUnder(kek.Id));
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(kek.Id)).State);
    }

    [Fact]
    public async Task Wrong_input_is_a_typed_error_and_changes_nothing()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var keys = new EnvelopeKeys(context) { CutOffTimeout = TimeSpan.Zero };
        var key = await KeyAsync(context, ScopeA.Value);
        var mac = await KeyAsync(context, KeyScope.Global, purpose: KeyPurpose.Mac);
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.DestroyAsync(Guid.NewGuid()));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.CancelDestructionAsync(Guid.NewGuid()));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => keys.RevokeAsync(Guid.NewGuid()));
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.DestroyAsync(key.Id));
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.RevokeAsync(key.Id));
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.CancelDestructionAsync(key.Id));
        foreach (var window in new[] { TimeSpan.Zero, TimeSpan.FromDays(6.9), TimeSpan.FromDays(366), TimeSpan.FromDays(-30) })
        {
            await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.DestroyAsync(key.Id, window: window));
        }

        foreach (var attempt in new Func<Task>[] { () => keys.DestroyAsync(mac.Id), () => keys.RevokeAsync(mac.Id), () => keys.ReportCompromisedAsync(mac.Id, "no") })
        {
            Assert.Equal(mac.Id, (await Assert.ThrowsAsync<EnvelopeConfigurationException>(attempt)).KeyId);
        }

        // Within the lease after the last change nobody can know that no writer still holds the key.
        await keys.RotateAsync(ScopeA);
        await context.Customers.Where(c => c.TenantId == TenantA).ExecuteDeleteAsync();
        var early = await Assert.ThrowsAsync<KeyInUseException>(() => keys.DestroyAsync(key.Id));
        Assert.Contains("lease", early.Message, StringComparison.Ordinal);
        Assert.Equal(KeyState.Deactivated, (await KeyAsync(context, ScopeA.Value)).State);
        await new EnvelopeKeys(context).DestroyAsync(key.Id);
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.DestroyAsync(key.Id));
        await Assert.ThrowsAsync<KeyRevokedException>(() => keys.RevokeAsync(key.Id));
    }
}
