using System.Data.Common;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Querying;

public sealed class SqliteVault() : VaultFixture("SQLite");

public sealed class PostgresVault() : VaultFixture("PostgreSQL");

/// <summary>One database with two persons, for tests that change nothing.</summary>
public abstract class VaultFixture(string provider) : IAsyncLifetime
{
    public static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New(new CommandCounter());
        await context.Database.EnsureCreatedAsync();
        context.People.AddRange(
            new Person
            {
                TenantId = Tenant,
                City = "Bern",
                Ssn = "123",
                Nick = "n",
                Amount = 5m,
                Score = 4,
                Born = new DateOnly(1990, 1, 2),
                Active = true,
                Photo = [1],
                Note = "123",
                Tags = ["123"],
                Papers = new Papers { Kind = "k", Passport = "1" },
                Stamps = [new Stamp { Land = "l", Visa = "123" }],
                Card = new Card { Bank = "b", Number = "123" },
                OldCards = [new Card { Bank = "old", Number = "123" }],
                Boxes = [new Box { Kind = "box", Inside = new Card { Bank = "in", Number = "123" } }],
                Reach = new Reach { Kind = "home", Phone = "123" },
                Home = new Home { City = "Bern", Street = "123" },
                Devices = [new Device { Kind = "phone", Serial = "123" }],
            },
            new Person { TenantId = Tenant, City = "Basel", Ssn = "456", Score = 2 });
        context.Words.Add(new Word { Text = "123", Bytes = [1], Set = true });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    public VaultContext New(CommandCounter commands, Action<DbContextOptionsBuilder>? more = null) => new(_database.Options(more: builder =>
    {
        builder.AddInterceptors(commands);
        more?.Invoke(builder);
    }));

    /// <summary>Counts the commands of one test.</summary>
    public sealed class CommandCounter : DbCommandInterceptor
    {
        public int Count { get; private set; }

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            Count++;
            return new(result);
        }

        public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
        {
            Count++;
            return new(result);
        }
    }
}
