using System.Net;
using System.Net.Sockets;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Keys;

/// <summary>A server of the ring that takes connections and never answers.</summary>
public sealed class SilentRingTests : IAsyncLifetime
{
    private readonly TcpListener _silent = new(IPAddress.Loopback, 0);
    private TestDatabase _database = null!;
    private RingProcess _process = null!;

    public async Task InitializeAsync()
    {
        _silent.Start();
        _database = await TestDatabase.CreateAsync("PostgreSQL");
        _process = new RingProcess(
            _database, new ScriptedKeyService(), connectionString: $"Host=127.0.0.1;Port={((IPEndPoint)_silent.LocalEndpoint).Port};Username=u;Password=p;Database=d;Timeout=1;SSL Mode=Disable;GSS Encryption Mode=Disable");
    }

    public async Task DisposeAsync()
    {
        await _process.DisposeAsync();
        await _database.DisposeAsync();
        _silent.Dispose();
    }

    [Fact]
    public async Task A_confirmation_waits_for_one_time_out_of_the_connection()
    {
        var failure = await Assert.ThrowsAsync<KeyUnavailableException>(() => _process.SealAsync());
        Assert.True(failure.IsRingOutOfReach);
        var attempts = 0;
        while (_silent.Pending())
        {
            (await _silent.AcceptTcpClientAsync()).Dispose();
            attempts++;
        }

        Assert.Equal(1, attempts);
    }
}
