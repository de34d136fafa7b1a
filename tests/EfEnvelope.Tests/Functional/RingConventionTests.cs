using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteRingConventionTests() : RingConventionTests("SQLite");

public sealed class PostgresRingConventionTests() : RingConventionTests("PostgreSQL");

/// <summary>What an application sets for all its properties of a type does not reach the ring's tables: their columns hold more than the application's own.</summary>
public abstract class RingConventionTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = m =>
    {
        m.Entity<Letter>().HasDataKeyPerTenant(l => l.Tenant);
        m.UseEnvelopeEncryption();
    };

    private static readonly Action<ModelConfigurationBuilder> Conventions = b =>
    {
        b.Properties<string>().HaveMaxLength(30);
        b.Properties<byte[]>().HaveMaxLength(200);
        b.Properties<int>().HaveConversion<string>();
        b.Properties<long>().HaveConversion<decimal>();
    };

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Keys_rotate_and_rows_are_re_encrypted_under_narrow_conventions()
    {
        await using var context = new AdHocContext(_database.Options(more: AdHocContext.Cached), Model, Conventions);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Letter { Tenant = "a bank", Text = "canary" });
        await context.SaveChangesAsync();
        var keys = new EnvelopeKeys(context);
        for (var version = 2; version <= 11; version++)
        {
            Assert.Equal(version, (await keys.RotateAsync(EnvelopeScope.Tenant("a bank"), new string('r', 300)))[0].Version);
        }

        await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
        var cell = Assert.Single((await keys.TakeCensusAsync()).Entries);
        Assert.Equal(11, (await keys.ListAsync()).Single(k => k.Id == cell.KeyId).Version);
        context.ChangeTracker.Clear();
        Assert.Equal("canary", (await context.Set<Letter>().SingleAsync()).Text);
    }

    private sealed class Letter
    {
        public Guid Id { get; set; }

        public string Tenant { get; set; } = "";

        [Encrypted]
        public string? Text { get; set; }
    }
}
