using EfEnvelope.Cryptography;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteErasureRaceTests() : ErasureRaceTests("SQLite");

public sealed class PostgresErasureRaceTests() : ErasureRaceTests("PostgreSQL");

/// <summary>An erasure between the moment when another process read the ring and the moment when it writes: the erased scope gets no new key (G16).</summary>
public abstract class ErasureRaceTests(string provider) : IAsyncLifetime
{
    private const string Scope = "tenant:1";

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;
    private RingProcess _here = null!;
    private RingProcess _there = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _here = await new RingProcess(_database, _kms).CreateAsync();
        _there = new RingProcess(_database, _kms);
    }

    public async Task DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task An_erased_scope_is_not_rotated()
    {
        await _here.SealAsync(Scope);
        await EraseThereAsync();
        Assert.Contains("is erased", (await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.RotateAsync(Scope))).Message, StringComparison.Ordinal);
        await AssertErasedAsync();
    }

    [Fact]
    public async Task An_erased_scope_that_had_keys_of_rows_only_takes_no_other_values_either()
    {
        await NewRowAsync();
        await EraseThereAsync();
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.SealAsync(Scope));
        await AssertErasedAsync();
    }

    [Theory]
    [InlineData(KeyPurpose.Field)]
    [InlineData(KeyPurpose.Kek)]
    public async Task A_save_that_is_overtaken_while_it_makes_the_scopes_first_key_of_the_other_kind_makes_none(KeyPurpose made)
    {
        if (made == KeyPurpose.Field)
        {
            await NewRowAsync();
        }
        else
        {
            await _here.SealAsync(Scope);
        }

        EraseBeforeTheNextInsert();
        Assert.Contains("is erased", (await Assert.ThrowsAsync<KeyDestroyedException>(() => made == KeyPurpose.Field ? _here.SealAsync(Scope) : NewRowAsync())).Message, StringComparison.Ordinal);
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_rotation_to_a_first_key_of_the_other_kind_that_is_overtaken_makes_none()
    {
        await NewRowAsync();
        EraseAfterTheNextLook();
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.RotateAsync(Scope));
        await AssertErasedAsync();
    }

    [Fact]
    public async Task Racing_makers_of_a_scopes_first_keys_of_both_kinds_all_get_them()
    {
        await using var other = new RingProcess(_database, _kms);
        var makers = new[] { _here, _there, other }.SelectMany(process => Enumerable.Range(0, 4).Select(i => Task.Run(async () =>
        {
            var scope = $"tenant:{i}";
            var draft = await process.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@{scope}", 1, process.Store, process.Transient, default);
            draft.Key.Drop();
            return (Scope: scope, Field: await process.SealAsync(scope), Kek: draft.Entry.KekId!.Value);
        }))).ToList();
        var made = await Task.WhenAll(makers);
        Assert.All(made.GroupBy(m => m.Scope), scope => Assert.Single(scope.Distinct()));
        Assert.Equal(8, (await _here.Ring.ListAsync(includeRowKeys: true, _here.Store, default)).Count(k => k.Purpose != KeyPurpose.Mac));
    }

    [Fact]
    public async Task A_rotation_that_is_overtaken_makes_no_key()
    {
        await _here.SealAsync(Scope);
        EraseAfterTheNextLook();
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.RotateAsync(Scope));
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_save_that_is_overtaken_while_it_makes_the_next_version_makes_none()
    {
        var key = await _here.SealAsync(Scope);
        await _here.ChangeAsync(key, KeyState.Compromised);
        EraseAfterTheNextLook();
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.SealAsync(Scope));
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_compromise_that_is_overtaken_makes_no_successor()
    {
        var key = await _here.SealAsync(Scope);
        EraseAfterTheNextLook();
        await _here.CompromiseAsync(key);
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_row_that_is_saved_while_its_scope_is_erased_gets_no_new_version_of_its_key()
    {
        var row = await NewRowAsync();
        await _here.Ring.RotateAsync(Scope, KeyPurpose.Kek, "test", _here.Store, default);
        EraseBeforeTheNextInsert();
        Assert.Contains("erased", (await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.SealAsync(row.Scope))).Message, StringComparison.Ordinal);
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_job_that_is_overtaken_makes_no_new_version_of_a_rows_key()
    {
        var row = await NewRowAsync();
        await _here.Ring.RotateAsync(Scope, KeyPurpose.Kek, "test", _here.Store, default);
        EraseBeforeTheNextInsert();
        using var pins = new KeyPins();
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.Ring.RotateRowKeysAsync([row.Scope], _here.Store, pins, default));
        await AssertErasedAsync();
    }

    [Fact]
    public async Task A_row_whose_kek_is_rotated_meanwhile_gets_its_new_version_under_the_new_kek()
    {
        var row = await NewRowAsync();
        await _here.Ring.RotateAsync(Scope, KeyPurpose.Kek, "test", _here.Store, default);
        KeyRingEntry? newest = null;
        _here.Store.BeforeInsert = async () =>
        {
            _here.Store.BeforeInsert = null;
            newest = await _there.Ring.RotateAsync(Scope, KeyPurpose.Kek, "test", _there.Store, default);
        };
        var sealing = await _here.SealAsync(row.Scope);
        var versions = (await _here.Ring.ListAsync(includeRowKeys: true, _here.Store, default)).Where(k => k.Scope == row.Scope).OrderBy(k => k.Version).ToList();
        Assert.Equal([1, 2], versions.Select(k => k.Version));
        Assert.Equal((sealing, newest!.Id), (versions[1].Id, versions[1].KekId));
    }

    private async Task<KeyRingEntry> NewRowAsync()
    {
        var draft = await _here.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@{Scope}", 1, _here.Store, _here.Transient, default);
        draft.Key.Drop();
        Assert.Equal(1, await _here.Store.TryInsertAsync([draft.Entry], default));
        return draft.Entry;
    }

    private void EraseAfterTheNextLook() => _here.Store.AfterFindByScope = () =>
    {
        _here.Store.AfterFindByScope = null;
        return EraseThereAsync();
    };

    private void EraseBeforeTheNextInsert() => _here.Store.BeforeInsert = () =>
    {
        _here.Store.BeforeInsert = null;
        return EraseThereAsync();
    };

    private async Task EraseThereAsync() => Assert.NotEqual(0, (await _there.Ring.EraseAsync(Scope, "contract ended", null, _there.Store, default)).Count);

    private async Task AssertErasedAsync()
    {
        Assert.All((await _there.Ring.ListAsync(includeRowKeys: true, _there.Store, default)).Where(k => k.Scope.EndsWith(Scope, StringComparison.Ordinal)), k => Assert.Equal(KeyState.Destroyed, k.State));
        await using var later = new RingProcess(_database, _kms);
        await Assert.ThrowsAsync<KeyDestroyedException>(() => later.SealAsync(Scope));
    }
}
