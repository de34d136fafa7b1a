using EfEnvelope.Cli;
using EfEnvelope.Cryptography;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

public sealed class SqliteSharedRingTests() : SharedRingTests("SQLite");

public sealed class PostgresSharedRingTests() : SharedRingTests("PostgreSQL");

/// <summary>One ring for two data databases: what one of them counts says nothing of the other.</summary>
public abstract class SharedRingTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private readonly PatientClock _clock = new();
    private TestDatabase _ring = null!;
    private TestDatabase _one = null!;
    private TestDatabase _two = null!;

    public async Task InitializeAsync()
    {
        (_ring, _one, _two) = (await TestDatabase.CreateAsync(provider), await TestDatabase.CreateAsync(provider), await TestDatabase.CreateAsync(provider));
        _one.KeyService = _two.KeyService = _ring.KeyService;
        await using (var context = new BankContext(_ring.Options()))
        {
            await context.Database.EnsureCreatedAsync();
        }

        foreach (var (database, tenant) in new[] { (_two, TenantA), (_one, TenantB) })
        {
            await using var context = New(database);
            await context.Database.EnsureCreatedAsync();
            context.Add(new Customer { TenantId = tenant, FullName = "n", Ssn = "s" });
            await context.SaveChangesAsync();
        }
    }

    public async Task DisposeAsync()
    {
        foreach (var database in new[] { _ring, _one, _two })
        {
            await database.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_key_that_only_cells_of_the_other_database_name_is_neither_revoked_nor_destroyed()
    {
        await using var context = New(_one);
        var keys = new EnvelopeKeys(context);
        var old = await RotateAsync(keys);
        Assert.Equal([Two], (await keys.TakeCensusAsync()).OtherDatabases);

        foreach (var end in new[] { () => keys.RevokeAsync(old), () => keys.DestroyAsync(old) })
        {
            var refused = await Assert.ThrowsAsync<KeyInUseException>(end);
            Assert.Equal(old, refused.KeyId);
            Assert.Contains(Two, refused.Message, StringComparison.Ordinal);
            Assert.Contains("databases forget", refused.Message, StringComparison.Ordinal);
        }

        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task A_key_that_was_scheduled_before_the_other_database_was_known_is_kept_when_it_is_due()
    {
        await using var context = New(_one);
        var keys = new EnvelopeKeys(context);
        var old = await RotateAsync(keys);
        await keys.ForgetDatabaseAsync(Two);
        await keys.DestroyAsync(old);
        _clock.Advance(TimeSpan.FromDays(31));

        // A process of the other database runs on, and registers it again with its next save.
        await using (var other = New(_two))
        {
            other.Add(new Customer { TenantId = TenantB, FullName = "late", Ssn = "s" });
            await other.SaveChangesAsync();
        }

        var report = await keys.DestroyDueAsync();
        Assert.Empty(report.Destroyed);
        Assert.Contains(Two, Assert.Single(report.Kept).Because, StringComparison.Ordinal);
        await keys.CancelDestructionAsync(old);
        _clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task No_job_and_no_census_proves_anything_while_another_database_is_not_counted()
    {
        await using var context = New(_one);
        var keys = new EnvelopeKeys(context);
        await RotateAsync(keys);
        var report = await keys.ReencryptAsync();
        Assert.Equal((false, false), (report.IsProven, report.Completion.IsProven));
        Assert.Contains(Two, report.NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains(Two, (await keys.ReportCensusAsync()).NotProvenBecause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_compromise_leaves_the_key_open_for_the_other_database_and_says_so()
    {
        await using var context = New(_one);
        var keys = new EnvelopeKeys(context);
        var key = (await keys.ListAsync()).Single(k => k.Scope == $"tenant:{TenantA}" && k.Purpose == KeyPurpose.Field);
        await keys.ReportCompromisedAsync(key.Id, "stolen");
        _clock.Advance(TimeSpan.FromMinutes(30));
        var report = await keys.CompromiseAsync(KeySelection.Key(key.Id), "stolen");
        Assert.Equal((false, 0, key.Id), (report.IsComplete, report.Revoked, Assert.Single(report.Open)));
        Assert.Contains(Two, report.OpenBecause, StringComparison.Ordinal);
        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task When_each_database_has_moved_its_rows_the_others_are_forgotten_and_the_key_ends()
    {
        Guid old;
        await using (var context = New(_one))
        {
            old = await RotateAsync(new EnvelopeKeys(context));
        }

        await using (var other = New(_two))
        {
            var report = await new EnvelopeKeys(other).ReencryptAsync();
            Assert.Equal((1L, false), (report.Rows, report.IsProven));
            Assert.Equal(0, report.Census.StaleCells);
        }

        await using var here = New(_one);
        var keys = new EnvelopeKeys(here);
        Assert.Equal([(One, true), (Two, false)], (await keys.ListDatabasesAsync()).Select(d => (d.Name, d.IsOwn)).OrderBy(d => d.IsOwn ? 0 : 1));
        Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["databases", "list"], () => New(_one)));
        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["databases", "forget", "--name", One], () => New(_one)));
        Assert.Equal(EnvelopeCommandLine.BadInput, await EnvelopeCommandLine.RunAsync(["databases", "forget", "--name", "nobody"], () => New(_one)));
        Assert.Equal(EnvelopeCommandLine.Proven, await EnvelopeCommandLine.RunAsync(["databases", "forget", "--name", Two], () => New(_one)));
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);
        _clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task When_each_database_has_moved_its_rows_the_key_ends_though_both_live_on()
    {
        await using var here = New(_one);
        await using var there = New(_two);
        var keys = new EnvelopeKeys(here);
        var old = await RotateAsync(keys);
        Assert.Contains(Two, (await keys.ReencryptAsync()).NotProvenBecause, StringComparison.Ordinal);

        // The first one has been counted by then: the last report is of all.
        var last = await new EnvelopeKeys(there).ReencryptAsync();
        Assert.True(last.IsProven, last.NotProvenBecause);
        Assert.Equal(1, last.Rows);
        there.Add(new Customer { TenantId = TenantB, FullName = "busy", Ssn = "s" });
        await there.SaveChangesAsync();
        Assert.True((await keys.ReportCensusAsync()).IsProven);
        Assert.Equal(KeyState.Revoked, (await keys.RevokeAsync(old)).State);

        // Each change of the key is one that the other database has to count anew.
        Assert.Contains(Two, (await Assert.ThrowsAsync<KeyInUseException>(() => keys.DestroyAsync(old))).Message, StringComparison.Ordinal);
        Assert.True((await new EnvelopeKeys(there).ReportCensusAsync()).IsProven is false);
        Assert.Equal(KeyState.PendingDestruction, (await keys.DestroyAsync(old)).State);
        _clock.Advance(TimeSpan.FromDays(31));
        Assert.Contains(Two, Assert.Single((await keys.DestroyDueAsync()).Kept).Because, StringComparison.Ordinal);
        await new EnvelopeKeys(there).ReportCensusAsync();
        Assert.Equal(old, Assert.Single((await keys.DestroyDueAsync()).Destroyed).Id);
        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task A_database_that_was_counted_once_is_named_again_when_the_next_key_is_retired_though_nobody_saves_to_it()
    {
        await using var here = New(_one);
        var keys = new EnvelopeKeys(here);
        await RotateAsync(keys);
        await using (var there = New(_two))
        {
            await new EnvelopeKeys(there).ReencryptAsync();
        }

        Assert.True((await keys.ReencryptAsync()).IsProven);
        var next = (await keys.ListAsync()).Single(k => k.Scope == $"tenant:{TenantA}" && k is { Purpose: KeyPurpose.Field, State: KeyState.Active });
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA));
        Assert.Contains(Two, (await keys.ReencryptAsync()).NotProvenBecause, StringComparison.Ordinal);
        Assert.Contains(Two, (await Assert.ThrowsAsync<KeyInUseException>(() => keys.RevokeAsync(next.Id))).Message, StringComparison.Ordinal);
        Assert.Equal("n", await ReadTwoAsync());
    }

    [Fact]
    public async Task Two_ways_to_write_one_database_name_it_alike()
    {
        var text = _one.ConnectionString;
        var other = provider == "SQLite" ? text.Replace(TestFolder.Quick, Path.Combine(TestFolder.Quick, "."), StringComparison.Ordinal) : text + ";Application Name=other";
        Assert.NotEqual(text, other);
        await using var context = new BankContext(_one.Options(e => e.UseTimeProvider(_clock).UseKeyRing(_ring.Connect), connectionString: other));
        context.Add(new Customer { TenantId = TenantB, FullName = "again", Ssn = "s" });
        await context.SaveChangesAsync();
        Assert.Equal(2, (await new EnvelopeKeys(context).ListDatabasesAsync()).Count);
    }

    [Fact]
    public async Task A_ring_that_is_given_as_the_databases_own_is_one_database()
    {
        await using (var context = new BankContext(_ring.Options(e => e.UseTimeProvider(_clock).UseKeyRing(_ring.Connect))))
        {
            context.Add(new Customer { TenantId = TenantB, FullName = "r", Ssn = "s" });
            await context.SaveChangesAsync();
        }

        await using var plain = new BankContext(_ring.Options());
        var databases = await new EnvelopeKeys(plain).ListDatabasesAsync();
        Assert.Equal("(the ring's database)", Assert.Single(databases, d => d.IsOwn).Name);
        Assert.Equal(3, databases.Count);
    }

    private string One => NameOf(_one);

    private string Two => NameOf(_two);

    private string NameOf(TestDatabase database)
    {
        if (provider == "SQLite")
        {
            return database.ConnectionString["Data Source=".Length..];
        }

        using var connection = database.Connect();
        return $"{_cluster ??= Cluster()}/{connection.Database}";
    }

    private string? _cluster;

    private string Cluster()
    {
        using var connection = _ring.Connect();
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT system_identifier::text FROM pg_control_system()";
        return (string)command.ExecuteScalar()!;
    }

    private BankContext New(TestDatabase database) => new(database.Options(e => e.UseTimeProvider(_clock).UseKeyRing(_ring.Connect)));

    /// <summary>Tenant A's first key, rotated away, long enough ago for any cut-off.</summary>
    private async Task<Guid> RotateAsync(EnvelopeKeys keys)
    {
        var old = (await keys.ListAsync()).Single(k => k.Scope == $"tenant:{TenantA}" && k.Purpose == KeyPurpose.Field);
        await keys.RotateAsync(EnvelopeScope.Tenant(TenantA));
        _clock.Advance(TimeSpan.FromMinutes(30));
        return old.Id;
    }

    private async Task<string> ReadTwoAsync()
    {
        await using var context = New(_two);
        return (await context.Customers.AsNoTracking().SingleAsync(c => c.TenantId == TenantA)).FullName;
    }
}
