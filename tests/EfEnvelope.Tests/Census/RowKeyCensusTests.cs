using EfEnvelope.Census;
using EfEnvelope.Cryptography;
using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Lifecycle;

namespace EfEnvelope.Tests.Census;

public sealed class SqliteRowKeyCensusTests() : RowKeyCensusTests("SQLite");

public sealed class PostgresRowKeyCensusTests() : RowKeyCensusTests("PostgreSQL");

/// <summary>A census says as much of millions of row keys, and of foreign ids, as of a few.</summary>
public abstract class RowKeyCensusTests(string provider) : LifecycleFixture(provider)
{
    private readonly bool _isPostgres = provider == "PostgreSQL";

    [Fact]
    public async Task Row_keys_are_counted_together_by_kek_and_state_and_one_by_one_when_asked_for()
    {
        await using var context = New();
        await SeedAsync(context, 2, 6);
        var keys = new EnvelopeKeys(context);
        var kek = await KeyAsync(context, ScopeA.Value, purpose: KeyPurpose.Kek);
        var rowKeys = (await keys.ListAsync(includeRowKeys: true)).Where(k => k.KekId == kek.Id).ToList();

        var census = await keys.TakeCensusAsync();
        var numbers = Assert.Single(census.Entries, e => e is { Table: "Cards", Column: "Number" });
        Assert.Equal((null, $"row:*@{ScopeA.Value}", KeyState.Active, 6L, 6L, kek.Id, KeyState.Active, false), (numbers.KeyId, numbers.Scope, numbers.State, numbers.Cells, numbers.Keys, numbers.KekId, numbers.KekState, numbers.IsStale));
        Assert.Equal(census.Entries.Where(e => e.Table == "Cards").Sum(e => e.Cells), census.CountUnder(kek.Id));
        Assert.Equal((0L, 0L), (census.CountOf(rowKeys[0].Id), census.StaleCells));

        // By itself a row key is listed with its own id; the others stay together.
        var one = await keys.TakeCensusAsync([rowKeys[0].Id]);
        Assert.Equal([(rowKeys[0].Id, 1L, 1L), (null, 5L, 5L)], one.Entries.Where(e => e is { Table: "Cards", Column: "Number" }).OrderBy(e => e.Keys).Select(e => (e.KeyId, e.Keys, e.Cells)));
        Assert.Equal(rowKeys[0].Scope, one.Entries.First(e => e.KeyId == rowKeys[0].Id).Scope);
        Assert.Equal(census.CountUnder(kek.Id), one.CountUnder(kek.Id));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => keys.TakeCensusAsync([.. Enumerable.Range(0, ColumnTally.MaxListed + 1).Select(_ => Guid.NewGuid())]));

        // With their kek they are stale, whatever their own rows say; a key of a scope is by its own state.
        await keys.RotateAsync(ScopeA);
        var after = await keys.TakeCensusAsync();
        Assert.Equal((KeyState.Active, KeyState.Deactivated, true), Assert.Single(after.Entries, e => e is { Table: "Cards", Column: "Number" }) is var stale ? (stale.State, stale.KekState, stale.IsStale) : default);
        Assert.Equal(after.CountUnder(kek.Id) + after.Entries.Where(e => e is { KekId: null, State: KeyState.Deactivated }).Sum(e => e.Cells), after.StaleCells);
    }

    [Fact]
    public async Task Of_ids_that_the_ring_does_not_hold_the_first_thousand_are_listed_and_the_others_together()
    {
        const int rows = ColumnTally.MaxListed + 7;
        await using var context = New();
        context.AddRange(Enumerable.Range(0, rows).Select(n => new Customer { TenantId = TenantA, Branch = $"b{n}", FullName = "x", Ssn = "y", Note = "z", Profile = new Profile { Secret = "s" } }));
        await context.SaveChangesAsync();
        await Database.ExecuteAsync(_isPostgres
            ? "UPDATE \"Customers\" SET \"FullName\" = '\\xC10101'::bytea || uuid_send(gen_random_uuid()) || '\\x00'::bytea"
            : "UPDATE \"Customers\" SET \"FullName\" = unhex('C10101' || hex(randomblob(30)))");
        var census = await new EnvelopeKeys(context).TakeCensusAsync();
        var names = census.Entries.Where(e => e is { Table: "Customers", Column: "FullName" }).ToList();
        Assert.All(names, e => Assert.Equal((null, null, false), (e.Scope, e.State, e.IsStale)));
        Assert.Equal(ColumnTally.MaxListed, names.Count(e => e.KeyId is not null));
        Assert.Equal((rows - ColumnTally.MaxListed, rows - ColumnTally.MaxListed), Assert.Single(names, e => e.KeyId is null) is var others ? (others.Keys, others.Cells) : default);
        var report = await new EnvelopeKeys(context).ReportCensusAsync(sampleSize: 0);
        Assert.Contains("7 further key id(s)  not in the ring", report.ToText(), StringComparison.Ordinal);
        Assert.True((await new EnvelopeKeys(context).VerifyReportAsync(report.ToJson())).IsGenuine);
    }

    [Fact]
    public async Task The_four_ids_that_armour_may_mean_begin_with_its_characters()
    {
        await using var context = New();
        await SeedAsync(context, 1, 0);
        foreach (var id in Enumerable.Range(0, 200).Select(_ => Guid.NewGuid()))
        {
            var text = "efe1:wQEB" + ArmorHeader.Of(id);
            Assert.True(ArmorHeader.TryRead(text, out var candidates));
            Assert.Equal(4, candidates.Distinct().Count());
            Assert.Contains(id, candidates);
            Assert.All(candidates, c => Assert.Equal(ArmorHeader.Of(id), ArmorHeader.Of(c)));
            Assert.False(ArmorHeader.TryRead(text.AsSpan(0, text.Length - 1), out _));
            Assert.False(ArmorHeader.TryRead("efe1:wQEB!" + text[10..], out _));
        }

        // What the ring does not hold is, by three quarters of an id, a key whose name cannot be said.
        await Database.ExecuteAsync($"UPDATE \"Customers\" SET \"Note\" = 'efe1:wQEB{ArmorHeader.Of(Guid.NewGuid())}AAAA'");
        Assert.Equal((null, 1L, 1L), Assert.Single((await new EnvelopeKeys(context).TakeCensusAsync()).Entries, e => e is { Table: "Customers", Column: "Note" }) is var note ? (note.KeyId, note.Keys, note.Cells) : default);
    }

    [Fact]
    public async Task A_job_lets_go_of_the_row_keys_that_it_loaded()
    {
        await using (var context = New())
        {
            await SeedAsync(context, 0, 40);
            await new EnvelopeKeys(context).RotateAsync(ScopeA);
        }

        PassLease();
        await using var other = New("b");
        Assert.True((await new EnvelopeKeys(other).ReencryptAsync(Small with { SampleSize = 0 })).IsProven);
        Assert.InRange(EnvelopeSession.Of(other).Ring.Count, 1, 8);
    }
}
