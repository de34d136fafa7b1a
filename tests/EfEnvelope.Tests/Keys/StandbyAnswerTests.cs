using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Keys;

/// <summary>With several hosts in a connection string each connection may lead to a standby, which may lag behind what another connection has said.</summary>
public sealed class StandbyAnswerTests : IAsyncLifetime
{
    private static readonly TimeSpan PastLease = TimeSpan.FromSeconds(61);

    private TestDatabase _database = null!;
    private RingProcess _process = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        _process = await new RingProcess(_database, new ScriptedKeyService()).CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await _process.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task An_older_answer_of_a_standby_confirms_nothing_and_drops_nothing()
    {
        var first = await _process.SealAsync();
        await _process.RotateAsync();
        var second = await SealLaterAsync();
        var calls = _process.Kms.Calls;
        _process.Store.Answer = i => i with { IsStandby = true, Epoch = i.Epoch - 1 };
        _process.Time.Advance(PastLease);
        Assert.Contains("lags behind", (await Assert.ThrowsAsync<KeyUnavailableException>(() => _process.SealAsync())).Message, StringComparison.Ordinal);
        Assert.Equal(first, await _process.OpenAsync(first));
        Assert.Equal(second, await _process.OpenAsync(second));
        _process.Store.Answer = null;
        Assert.Equal(second, await _process.SealAsync());
        Assert.Equal(calls, _process.Kms.Calls);
    }

    [Fact]
    public async Task An_answer_of_a_standby_confirms_for_opening_and_not_for_sealing()
    {
        var key = await SealLaterAsync();
        _process.Store.Answer = i => i with { IsStandby = true };
        _process.Time.Advance(PastLease);
        Assert.Equal(key, await _process.OpenAsync(key));
        var queries = _process.Store.Queries;
        Assert.Equal(key, await _process.OpenAsync(key));
        Assert.Equal(queries, _process.Store.Queries);
        Assert.Contains("standby", (await Assert.ThrowsAsync<KeyUnavailableException>(() => _process.SealAsync())).Message, StringComparison.Ordinal);
        _process.Store.Answer = null;
        Assert.Equal(key, await _process.SealAsync());
    }

    [Fact]
    public async Task A_primarys_answer_serves_its_whole_lease_whatever_a_standby_says_after_it()
    {
        var key = await SealLaterAsync();
        _process.Time.Advance(TimeSpan.FromSeconds(20));
        _process.Store.Answer = i => i with { IsStandby = true };
        await _process.Ring.ConfirmAsync(_process.Store, default);
        _process.Time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(key, await _process.SealAsync());
        _process.Time.Advance(TimeSpan.FromSeconds(40));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => _process.SealAsync());
    }

    /// <summary>With a confirmation of just now.</summary>
    private async Task<Guid> SealLaterAsync()
    {
        _process.Time.Advance(PastLease);
        return await _process.SealAsync();
    }
}
