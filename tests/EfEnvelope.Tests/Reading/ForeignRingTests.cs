using EfEnvelope.Tests.Functional;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Npgsql;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteForeignRingTests() : ForeignRingTests("SQLite");

public sealed class PostgresForeignRingTests() : ForeignRingTests("PostgreSQL");

/// <summary>One process with the rings of two databases: a cell of the one does not open in the other, also where EF buffers rows and their cells are opened without their reader.</summary>
public abstract class ForeignRingTests(string provider) : OwnerTests(provider)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_cell_of_another_databases_ring_is_refused(bool retrying)
    {
        await using var other = await TestDatabase.CreateAsync(Provider);
        other.KeyService = Database.KeyService;
        await using (var theirs = new OwnerContext(other.Options()))
        {
            await theirs.Database.EnsureCreatedAsync();
            theirs.AddRange(NewOwner(TenantA, "a", chips: 1), NewOwner(TenantA, "b", chips: 1));
            await theirs.SaveChangesAsync();
        }

        await SaveAsync(TenantA, "a", chips: 1);
        await SaveAsync(TenantA, "b", chips: 1);
        await MoveAsync(other, "Owners", "Name");
        await MoveAsync(other, "Chips", "Serial");

        // The process holds the keys of both.
        await using (var theirs = new OwnerContext(other.Options()))
        {
            Assert.Equal(("canary a", "canary a/0"), ((await theirs.Owners.FirstAsync(o => o.Code == "a")).Name, (await theirs.Chips.FirstAsync(c => c.Label == "a/0")).Serial));
        }

        await using var context = New(o => Retry(o, retrying));
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.Owners.AsNoTracking().OrderBy(o => o.Id).ToListAsync());
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.Owners.OrderBy(o => o.Id).Select(o => o.Name).ToListAsync());
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.Chips.AsNoTracking().OrderBy(c => c.Id).ToListAsync());
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.Chips.OrderBy(c => c.Id).Select(c => c.Serial).ToListAsync());
        Assert.Throws<KeyNotFoundInRingException>(() => context.Chips.OrderBy(c => c.Id).ToList());
    }

    private async Task MoveAsync(TestDatabase from, string table, string column)
    {
        var cell = (byte[])(await from.ScalarAsync($"SELECT \"{column}\" FROM \"{table}\" ORDER BY \"Id\" LIMIT 1"))!;
        await Database.ExecuteAsync($"UPDATE \"{table}\" SET \"{column}\" = {(Provider == "SQLite" ? $"X'{Convert.ToHexString(cell)}'" : $"'\\x{Convert.ToHexString(cell)}'")} WHERE \"Id\" = (SELECT MIN(\"Id\") FROM \"{table}\")");
    }

    private void Retry(DbContextOptionsBuilder options, bool retrying)
    {
        if (!retrying)
        {
            return;
        }

        if (Provider == "SQLite")
        {
            options.UseSqlite(Database.ConnectionString, s => s.ExecutionStrategy(d => new RetryingStrategy(d)));
        }
        else
        {
            options.UseNpgsql(Database.ConnectionString, n => n.EnableRetryOnFailure());
        }
    }

    private sealed class RetryingStrategy(ExecutionStrategyDependencies dependencies) : ExecutionStrategy(dependencies, maxRetryCount: 3, maxRetryDelay: TimeSpan.FromMilliseconds(1))
    {
        protected override bool ShouldRetryOn(Exception exception) => exception is NpgsqlException { IsTransient: true } or SqliteException { SqliteErrorCode: 5 };
    }
}
