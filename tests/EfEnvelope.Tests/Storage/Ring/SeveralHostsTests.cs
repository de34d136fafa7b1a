using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Storage.Ring;

/// <summary>Connection strings that name several hosts, of which a connection uses the first that answers.</summary>
public sealed class SeveralHostsTests : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("PostgreSQL");
        await using var context = new BankContext(_database.Options());
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Clusters_of_several_hosts_have_rings_of_their_own()
    {
        await using var one = new BankContext(_database.Options(connectionString: "Host=a1,a2;Database=bank;Username=app"));
        await using var two = new BankContext(_database.Options(connectionString: "Host=b1,b2;Database=bank;Username=app"));
        await using var port = new BankContext(_database.Options(connectionString: "Host=a1,a2;Port=5433;Database=bank;Username=app"));
        Assert.NotSame(EnvelopeSession.Of(one).Ring, EnvelopeSession.Of(two).Ring);
        Assert.NotSame(EnvelopeSession.Of(one).Ring, EnvelopeSession.Of(port).Ring);
    }

    [Fact]
    public async Task A_connection_to_several_hosts_has_one_ring_while_closed_and_while_open()
    {
        await using var context = new BankContext(_database.Options(connectionString: SeveralHosts()));
        var closed = EnvelopeSession.Of(context).Ring;
        await context.Database.OpenConnectionAsync();
        Assert.Same(closed, EnvelopeSession.Of(context).Ring);
        await context.Database.CloseConnectionAsync();
        Assert.Same(closed, EnvelopeSession.Of(context).Ring);
    }

    [Fact]
    public async Task What_is_reported_over_several_hosts_counts_at_once_for_each_way_to_the_ring()
    {
        DbContextOptions[] ways = [_database.Options(connectionString: SeveralHosts()), _database.Options()];
        foreach (var way in ways)
        {
            await using var context = new BankContext(way);
            context.Add(new Ledger { Code = Guid.NewGuid().ToString(), Year = 1, Balance = 1 });
            await context.SaveChangesAsync();
        }

        await using (var context = new BankContext(ways[0]))
        {
            await new EnvelopeKeys(context).ReportCompromisedAsync(EnvelopeScope.Global, "test");
        }

        foreach (var way in ways)
        {
            await using var context = new BankContext(way);
            context.Add(new Ledger { Code = Guid.NewGuid().ToString(), Year = 2, Balance = 2 });
            context.SaveChanges();
        }

        await using var reader = new BankContext(ways[0]);
        var compromised = (await new EnvelopeKeys(reader).ListAsync()).Single(k => k.State == KeyState.Compromised);
        Assert.Equal(2, (await new EnvelopeKeys(reader).TakeCensusAsync()).CountOf(compromised.Id));
    }

    private string SeveralHosts()
    {
        var settings = new NpgsqlConnectionStringBuilder(_database.ConnectionString);
        settings.Host = $"{settings.Host},{settings.Host}";
        return settings.ConnectionString;
    }
}
