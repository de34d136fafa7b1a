using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteLateKeyTests() : LateKeyTests("SQLite");

public sealed class PostgresLateKeyTests() : LateKeyTests("PostgreSQL");

/// <summary>Rows that EF buffers are checked when they are read; a key that did not open then may open when the row is made.</summary>
public abstract class LateKeyTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _database.KeyService = _kms;
        await using var context = New('a');
        await context.Database.EnsureCreatedAsync();
        context.Add(new PaymentCard { TenantId = TenantB, Label = "1", Number = "first" });
        context.Add(new PaymentCard { TenantId = TenantA, Label = "2", Number = "second" });
        context.Add(new PaymentCard { TenantId = TenantA, Label = "3", Number = "third" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_cell_whose_key_opens_only_after_its_row_was_buffered_is_still_compared_with_that_row(bool isMoved)
    {
        if (isMoved)
        {
            await _database.ExecuteAsync("UPDATE \"Cards\" SET \"Number\" = (SELECT \"Number\" FROM \"Cards\" WHERE \"Label\" = '3') WHERE \"Label\" = '2'");
        }

        await using var context = New('b');
        Assert.Equal("first", (await context.Cards.AsNoTracking().SingleAsync(c => c.Label == "1")).Number);
        _kms.Failure = () => new KeyRefusedException("Not now.");
        await using var rows = context.Cards.AsNoTracking().Where(c => c.Label != "3").OrderBy(c => c.Label).AsAsyncEnumerable().GetAsyncEnumerator();
        Assert.True(await rows.MoveNextAsync());
        Assert.Equal("first", rows.Current.Number);

        _kms.Failure = null;
        _database.Time.Advance(TimeSpan.FromSeconds(30));
        await using (var other = New('b'))
        {
            Assert.Equal("third", (await other.Cards.AsNoTracking().SingleAsync(c => c.Label == "3")).Number);
            Assert.Equal(isMoved ? null : "second", isMoved ? null : (await other.Cards.AsNoTracking().SingleAsync(c => c.Label == "2")).Number);
        }

        if (isMoved)
        {
            await Assert.ThrowsAsync<EnvelopeRefusedException>(async () => await rows.MoveNextAsync());
        }
        else
        {
            Assert.True(await rows.MoveNextAsync());
            Assert.Equal("second", rows.Current.Number);
        }
    }

    [Fact]
    public async Task A_cell_whose_key_opens_only_later_is_compared_with_the_tenant_that_was_returned_beside_it()
    {
        await using (var writer = New('a'))
        {
            writer.Add(new PaymentCard { TenantId = TenantB, Label = "4", Number = "fourth" });
            await writer.SaveChangesAsync();
        }

        await _database.ExecuteAsync("UPDATE \"Cards\" SET \"Number\" = (SELECT \"Number\" FROM \"Cards\" WHERE \"Label\" = '3') WHERE \"Label\" = '4'");
        await using var context = New('b');
        Assert.Equal("first", (await context.Cards.AsNoTracking().SingleAsync(c => c.Label == "1")).Number);
        _kms.Failure = () => new KeyRefusedException("Not now.");
        await using var rows = context.Cards.Where(c => c.TenantId == TenantB).OrderBy(c => c.Label).Select(c => new { c.TenantId, c.Number }).AsAsyncEnumerable().GetAsyncEnumerator();
        Assert.True(await rows.MoveNextAsync());
        Assert.Equal("first", rows.Current.Number);

        _kms.Failure = null;
        _database.Time.Advance(TimeSpan.FromSeconds(30));
        await using (var other = New('b'))
        {
            Assert.Equal("third", (await other.Cards.AsNoTracking().SingleAsync(c => c.Label == "3")).Number);
        }

        await Assert.ThrowsAsync<EnvelopeRefusedException>(async () => await rows.MoveNextAsync());
    }

    [Fact]
    public async Task A_buffered_document_whose_key_does_not_open_is_refused_before_the_first_row_is_handed_out()
    {
        await using (var context = New('a'))
        {
            context.Add(new Customer { TenantId = TenantB, Branch = "1", FullName = "first", Ssn = "s", Profile = new Profile { Secret = "b" } });
            context.Add(new Customer { TenantId = TenantA, Branch = "2", FullName = "second", Ssn = "s", Profile = new Profile { Secret = "a" } });
            await context.SaveChangesAsync();
        }

        await using var reader = New('b', Retry);
        var query = reader.Customers.AsNoTracking().OrderBy(c => c.Branch).Select(c => new { c.Branch, c.TenantId, c.Profile });
        Assert.Equal("b", (await query.FirstAsync()).Profile!.Secret);
        _kms.Failure = () => new KeyRefusedException("Not now.");
        await using (var rows = query.AsAsyncEnumerable().GetAsyncEnumerator())
        {
            await Assert.ThrowsAsync<KeyRefusedException>(async () => await rows.MoveNextAsync());
        }

        _kms.Failure = null;
        _database.Time.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(["b", "a"], (await query.ToListAsync()).Select(r => r.Profile!.Secret));
    }

    private void Retry(DbContextOptionsBuilder options)
    {
        if (provider == "SQLite")
        {
            options.UseSqlite(_database.ConnectionString, s => s.ExecutionStrategy(d => new RetryingStrategy(d)));
        }
        else
        {
            options.UseNpgsql(_database.ConnectionString, n => n.EnableRetryOnFailure());
        }
    }

    private sealed class RetryingStrategy(ExecutionStrategyDependencies dependencies) : ExecutionStrategy(dependencies, maxRetryCount: 3, maxRetryDelay: TimeSpan.FromMilliseconds(1))
    {
        protected override bool ShouldRetryOn(Exception exception) => exception is SqliteException { SqliteErrorCode: 5 };
    }

    private BankContext New(char process, Action<DbContextOptionsBuilder>? more = null) => new(_database.Options(e => e.With(o => o with { MaxCachedKeys = 1000 + process }), more));
}
