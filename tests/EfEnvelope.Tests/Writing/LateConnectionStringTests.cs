using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.Tests.Writing;

public sealed class SqliteLateConnectionStringTests() : LateConnectionStringTests("SQLite")
{
    [Fact]
    public async Task A_connection_that_leads_elsewhere_when_it_is_opened_is_refused_before_the_first_statement()
    {
        await using var connection = new Elsewhere.SqliteConnection(One.ConnectionString, Two.ConnectionString);
        await using var context = new BankContext(One.Options(more: o => o.UseSqlite(connection)));
        context.Add(NewCustomer("n"));
        var refused = Assert.IsType<EnvelopeConfigurationException>((await Assert.ThrowsAsync<DbUpdateException>(() => context.SaveChangesAsync())).InnerException);
        Assert.Contains("another database", refused.Message, StringComparison.Ordinal);
        foreach (var database in new[] { One, Two })
        {
            Assert.Equal(0L, await database.ScalarAsync("SELECT COUNT(*) FROM \"Customers\""));
        }
    }

    private static class Elsewhere
    {
        /// <summary>Of this name, since a driver is known by it.</summary>
        public sealed class SqliteConnection : Microsoft.Data.Sqlite.SqliteConnection
        {
            private readonly string? _meant;

            public SqliteConnection()
            {
            }

            public SqliteConnection(string said, string meant)
                : base(said) => _meant = meant;

            public override void Open()
            {
                ConnectionString = _meant ?? ConnectionString;
                base.Open();
            }
        }
    }
}

public sealed class PostgresLateConnectionStringTests() : LateConnectionStringTests("PostgreSQL");

/// <summary>Interceptors that say where a connection leads when it is opened: the tenant's database.</summary>
public abstract class LateConnectionStringTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    protected TestDatabase One { get; private set; } = null!;

    protected TestDatabase Two { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        (One, Two) = (await TestDatabase.CreateAsync(provider), await TestDatabase.CreateAsync(provider));
        Two.KeyService = One.KeyService;
        foreach (var database in new[] { One, Two })
        {
            await using var context = new BankContext(database.Options());
            await context.Database.EnsureCreatedAsync();
        }
    }

    public async Task DisposeAsync()
    {
        await One.DisposeAsync();
        await Two.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_save_seals_with_the_keys_of_the_database_that_an_interceptor_chooses_when_the_connection_is_opened(bool hasDefault)
    {
        var tenant = new TenantConnection();
        await using var context = new BankContext(One.Options(
            more: o =>
            {
                o.AddInterceptors(tenant);
                if (!hasDefault)
                {
                    _ = provider == "SQLite" ? o.UseSqlite((string?)null) : o.UseNpgsql((string?)null);
                }
            }));
        foreach (var database in new[] { One, Two })
        {
            tenant.ConnectionString = database.ConnectionString;
            context.Add(NewCustomer("n"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
            await context.SaveChangesAsync();
            context.ChangeTracker.Clear();
        }

        foreach (var database in new[] { One, Two })
        {
            Assert.True(EnvelopeCodec.TryReadKeyId((byte[])(await database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\""))!, out var id));
            await using var reader = new BankContext(database.Options());
            Assert.Contains(await new EnvelopeKeys(reader).ListAsync(), k => k.Id == id);
            Assert.Equal("n", (await reader.Customers.AsNoTracking().SingleAsync()).FullName);
            Assert.Equal("c", (await reader.Cards.AsNoTracking().SingleAsync()).Number);
        }
    }

    protected static Customer NewCustomer(string name) => new() { TenantId = Tenant, FullName = name, Ssn = "s" };

    private sealed class TenantConnection : DbConnectionInterceptor
    {
        public string ConnectionString { get; set; } = "";

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
        {
            connection.ConnectionString = ConnectionString;
            return new(result);
        }

        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
            => throw new InvalidOperationException("The tenant is asked for asynchronously.");
    }
}
