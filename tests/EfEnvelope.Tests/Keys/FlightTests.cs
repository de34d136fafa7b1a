using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Keys;

/// <summary>Calls that several wait for: nobody gets what was meant for somebody else, or for an earlier time.</summary>
public sealed class FlightTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;
    private RingProcess _process = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        _process = await new RingProcess(_database, _kms).CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await _process.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task A_call_that_everybody_gave_up_and_that_failed_then_is_made_anew()
    {
        var key = await _process.SealAsync();
        await using var cold = new RingProcess(_database, _kms);
        await cold.SealAsync("tenant:warm");
        var (begun, goOn) = (new TaskCompletionSource(), new TaskCompletionSource());
        _kms.Gate = () =>
        {
            begun.TrySetResult();
            return goOn.Task;
        };
        _kms.Failure = () => new KeyUnavailableException("Out of reach (injected).");
        using var patience = new CancellationTokenSource();
        var opening = cold.OpenAsync(key, patience.Token);
        await begun.Task;
        await patience.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => opening);

        // What waits for it goes on within this call, to the end of the flight.
        await Task.Run(goOn.SetResult);
        (_kms.Gate, _kms.Failure) = (null, null);
        Assert.Equal(key, await cold.OpenAsync(key));
    }

    [Fact]
    public async Task A_context_that_is_gone_when_a_call_begins_fails_alone()
    {
        _process.Store.FailDetach = () => new ObjectDisposedException("connection");
        await Assert.ThrowsAsync<ObjectDisposedException>(() => _process.SealAsync());
        _process.Store.FailDetach = null;
        Assert.Equal(await _process.SealAsync(), await _process.SealAsync());
    }

    [Fact]
    public async Task A_context_that_is_gone_when_the_ring_is_to_be_confirmed_ahead_does_not_end_that_for_all()
    {
        var key = await _process.SealAsync();
        _process.Time.Advance(new KeyRingOptions().SealingLease * 0.75);
        _process.Store.FailDetach = () => new ObjectDisposedException("connection");
        await Assert.ThrowsAsync<ObjectDisposedException>(() => _process.SealAsync());
        _process.Store.FailDetach = null;
        var refreshed = new TaskCompletionSource();
        _process.Store.BeforeGetIdentity = () =>
        {
            refreshed.TrySetResult();
            return Task.CompletedTask;
        };
        Assert.Equal(key, await _process.SealAsync());
        await refreshed.Task.WaitAsync(Patience);
    }

    [Fact]
    public async Task Those_who_come_before_the_first_confirmation_share_it()
    {
        await _process.SealAsync();
        await using var cold = new RingProcess(_database, _kms);
        var (asked, goOn) = (0, new TaskCompletionSource());
        cold.Store.BeforeGetIdentity = () =>
        {
            Interlocked.Increment(ref asked);
            return goOn.Task;
        };
        var savers = Enumerable.Range(0, 50).Select(_ => cold.SealAsync()).ToList();
        goOn.SetResult();
        var keys = await Task.WhenAll(savers);
        Assert.Single(keys.Distinct());

        // Asked anew after the ring's lease was raised to this process's.
        Assert.InRange(asked, 1, 2);
    }

    [Fact]
    public async Task A_row_key_that_cannot_be_made_within_the_lease_is_an_error_and_no_endless_loop()
    {
        await _process.SealAsync();
        await using var slow = new RingProcess(_database, _kms);
        await slow.SealAsync();
        slow.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
        slow.Store.BeforeGetIdentity = () =>
        {
            slow.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
            return Task.CompletedTask;
        };
        using var transient = new TransientKeys();
        var error = await Assert.ThrowsAsync<KeyUnavailableException>(() => slow.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@tenant:1", 1, slow.Store, transient, default).AsTask());
        Assert.Contains("too slow", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Those_who_wait_while_the_ring_is_out_of_reach_share_one_attempt(bool warm)
    {
        var key = await _process.SealAsync();
        await using var waiting = new RingProcess(_database, _kms);
        if (warm)
        {
            await waiting.SealAsync();
            waiting.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
        }

        var (attempts, goOn) = (0, new TaskCompletionSource());
        waiting.Store.OutOfReach = true;
        waiting.Store.BeforeGetIdentity = () =>
        {
            Interlocked.Increment(ref attempts);
            return goOn.Task;
        };

        // Each runs until it waits: the first for the ring, the others for their turn.
        var savers = Enumerable.Range(0, 50).Select(_ => waiting.SealAsync()).ToList();
        goOn.SetResult();
        foreach (var saver in savers)
        {
            await Assert.ThrowsAsync<KeyUnavailableException>(() => saver);
        }

        Assert.Equal(1, attempts);
        waiting.Store.OutOfReach = false;
        Assert.Equal(key, await waiting.SealAsync());
        Assert.Equal(2, attempts);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_failure_that_may_not_concern_another_is_not_shared(bool outOfReach, bool changes)
    {
        await _process.SealAsync();
        var here = new WatchedStore(_process.Store);
        var first = await BeginAsync(here);
        here.Failure = () => new KeyUnavailableException("Injected.") { IsRingOutOfReach = outOfReach };

        // Waits for its turn: with another role, over the caller's connection, or after a change that is committed.
        _process.Store.CallersConnection = outOfReach && !changes;
        var waiting = changes ? _process.Ring.ConfirmAsync(_process.Store, default) : _process.Ring.EnsureConfirmedAsync(_process.Store, default).AsTask();
        first.GoOn.SetResult();
        await Assert.ThrowsAsync<KeyUnavailableException>(() => first.Confirming);
        await waiting;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_failure_after_a_change_or_on_the_callers_connection_is_left_to_nobody(bool changes)
    {
        await _process.SealAsync();
        var here = new WatchedStore(_process.Store) { CallersConnection = !changes };
        var first = await BeginAsync(here, changes);
        here.OutOfReach = true;
        var waiting = _process.Ring.EnsureConfirmedAsync(_process.Store, default).AsTask();
        first.GoOn.SetResult();
        await Assert.ThrowsAsync<KeyUnavailableException>(() => first.Confirming);
        await waiting;
    }

    /// <summary>A confirmation that has its turn, and waits for the ring.</summary>
    private async Task<(Task Confirming, TaskCompletionSource GoOn)> BeginAsync(WatchedStore store, bool changes = false)
    {
        _process.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
        var (begun, goOn) = (new TaskCompletionSource(), new TaskCompletionSource());
        store.BeforeGetIdentity = () =>
        {
            begun.TrySetResult();
            return goOn.Task;
        };
        var confirming = changes ? _process.Ring.ConfirmAsync(store, default) : _process.Ring.EnsureConfirmedAsync(store, default).AsTask();
        await begun.Task.WaitAsync(Patience);
        return (confirming, goOn);
    }
}
