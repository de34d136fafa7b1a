using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteSealingLeaseTests() : SealingLeaseTests("SQLite");

public sealed class PostgresSealingLeaseTests() : SealingLeaseTests("PostgreSQL");

/// <summary>Two processes over one ring: what one changes, the other lives by within its lease, and not by anybody's wall clock.</summary>
public abstract class SealingLeaseTests(string provider) : IAsyncLifetime
{
    private static readonly TimeSpan Lease = new KeyRingOptions().SealingLease;

    private readonly ScriptedKeyService _kms = new();
    private TestDatabase _database = null!;
    private RingProcess _here = null!;
    private RingProcess _there = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _here = await new RingProcess(_database, _kms).CreateAsync();
        _there = new RingProcess(_database, _kms);
    }

    public async Task DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task A_key_that_was_rotated_elsewhere_seals_no_longer_than_the_lease()
    {
        var old = await _there.SealAsync();
        Assert.Equal(old, await _here.SealAsync());
        var made = await _here.RotateAsync();
        Assert.Equal(made.Id, await _here.SealAsync());

        _there.Time.Advance(Lease / 2);
        Assert.Equal(old, await _there.SealAsync());
        _there.Time.Advance((Lease / 2) + TimeSpan.FromMilliseconds(1));
        Assert.Equal(made.Id, await _there.SealAsync());
        Assert.Equal(old, await _there.OpenAsync(old));
    }

    [Fact]
    public async Task The_ring_keeps_the_longest_lease_that_any_process_sealed_with()
    {
        var key = await _here.SealAsync();
        Assert.Equal(Lease, await KeptAsync());
        await using var other = new RingProcess(_database, _kms, new KeyRingOptions { SealingLease = TimeSpan.FromMinutes(5) });
        await other.OpenAsync(key);
        Assert.Equal(Lease, await KeptAsync());
        await other.SealAsync();
        Assert.Equal(TimeSpan.FromMinutes(5), await KeptAsync());
        _here.Time.Advance(Lease + Lease);
        await _here.SealAsync();
        await using var shorter = new RingProcess(_database, _kms, new KeyRingOptions { SealingLease = TimeSpan.FromSeconds(1) });
        await shorter.SealAsync();
        Assert.Equal(TimeSpan.FromMinutes(5), await KeptAsync());

        // Whoever lowers it by SQL is answered by the next confirmation; what no option allows is not believed.
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"SealingLeaseTicks\" = 0");
        other.Time.Advance(TimeSpan.FromMinutes(5) + TimeSpan.FromMilliseconds(1));
        await other.SealAsync();
        Assert.Equal(TimeSpan.FromMinutes(5), await KeptAsync());
        await _database.ExecuteAsync($"UPDATE \"EnvelopeRing\" SET \"SealingLeaseTicks\" = {long.MaxValue}");
        Assert.Equal(KeyRingOptions.MaximumSealingLease, await KeptAsync());

        async Task<TimeSpan> KeptAsync() => (await _here.Store.GetIdentityAsync(default)).SealingLease;
    }

    [Fact]
    public async Task A_row_key_counts_the_lease_of_the_process_that_makes_it()
    {
        await using var other = new RingProcess(_database, _kms, new KeyRingOptions { SealingLease = TimeSpan.FromMinutes(5) });
        var draft = await other.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@tenant:1", 1, other.Store, other.Transient, default);
        draft.Key.Drop();
        Assert.Equal(TimeSpan.FromMinutes(5), (await _here.Store.GetIdentityAsync(default)).SealingLease);
    }

    [Fact]
    public async Task A_compromised_key_stops_sealing_here_at_once_and_elsewhere_within_the_lease_and_opens_on()
    {
        var old = await _there.SealAsync();
        await _here.CompromiseAsync(old);
        var successor = await _here.SealAsync();
        Assert.NotEqual(old, successor);
        _there.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.Equal(successor, await _there.SealAsync());
        Assert.Equal(old, await _there.OpenAsync(old));
        Assert.Equal(old, await _here.OpenAsync(old));
    }

    [Fact]
    public async Task A_revoked_key_opens_no_longer_than_the_lease_elsewhere_and_nothing_here()
    {
        var old = await _there.SealAsync();
        Assert.Equal(old, await _there.OpenAsync(old));
        await _here.RotateAsync();
        await _here.ChangeAsync(old, KeyState.Revoked);
        await Assert.ThrowsAsync<KeyRevokedException>(() => _here.OpenAsync(old));
        _there.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.Equal(old, (await Assert.ThrowsAsync<KeyRevokedException>(() => _there.OpenAsync(old))).KeyId);
    }

    [Fact]
    public async Task A_destroyed_key_is_erased_everywhere_after_the_interval_and_other_scopes_read_on()
    {
        var erased = await _there.SealAsync("tenant:1");
        var other = await _there.SealAsync("tenant:2");
        await _here.RotateAsync("tenant:1");
        await _here.ChangeAsync(erased, KeyState.Destroyed);
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _here.OpenAsync(erased));
        _there.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        await Assert.ThrowsAsync<KeyDestroyedException>(() => _there.OpenAsync(erased));
        Assert.Equal(other, await _there.OpenAsync(other));
        await using var later = new RingProcess(_database, _kms);
        await Assert.ThrowsAsync<KeyDestroyedException>(() => later.OpenAsync(erased));
    }

    [Fact]
    public async Task A_rotation_during_the_unwrapping_of_the_old_version_ends_its_sealing_all_the_same()
    {
        var old = await _here.SealAsync();
        var unwrapping = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        _ = await _there.SealAsync("tenant:warm");
        _kms.Gate = () =>
        {
            unwrapping.TrySetResult();
            return goOn.Task;
        };
        var sealing = _there.SealAsync();
        await unwrapping.Task;
        _kms.Gate = null;

        // The other process confirms the rotation while its own key service call is still under way.
        var made = await _here.RotateAsync();
        await _there.Ring.ConfirmAsync(_there.Store, default);
        goOn.SetResult();
        Assert.Equal(made.Id, await sealing);
        Assert.Equal(made.Id, await _there.SealAsync());
        Assert.Equal(old, await _there.OpenAsync(old));
    }

    [Fact]
    public async Task A_revocation_during_the_unwrapping_for_a_reader_refuses_the_key_all_the_same()
    {
        var old = await _here.SealAsync();
        _ = await _there.SealAsync("tenant:warm");
        await _here.RotateAsync();
        await _there.Ring.ConfirmAsync(_there.Store, default);
        var unwrapping = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        _kms.Gate = () =>
        {
            unwrapping.TrySetResult();
            return goOn.Task;
        };
        var opening = _there.OpenAsync(old);
        await unwrapping.Task;
        _kms.Gate = null;
        await _here.ChangeAsync(old, KeyState.Revoked);
        await _there.Ring.ConfirmAsync(_there.Store, default);
        goOn.SetResult();
        await Assert.ThrowsAsync<KeyRevokedException>(() => opening);
        await Assert.ThrowsAsync<KeyRevokedException>(() => _there.OpenAsync(old));
    }

    [Fact]
    public async Task Hot_keys_are_confirmed_in_the_background_before_the_lease_ends()
    {
        var key = await _there.SealAsync();
        for (var i = 0; i < 5; i++)
        {
            // Never older than the lease, so nobody ever waits for the query that confirms it.
            _there.Time.Advance((Lease / 2) + TimeSpan.FromSeconds(1));
            await Eventually(async () => await _there.SealAsync() == key && _there.Ring.Time.GetElapsedTime(_there.Ring.Confirmed.At) == TimeSpan.Zero);
        }

        _there.Store.OutOfReach = true;
        _there.Time.Advance(Lease);
        Assert.Equal(key, await _there.SealAsync());
    }

    [Fact]
    public async Task Without_the_ring_nobody_seals_after_the_lease_and_held_keys_open_up_to_their_stated_age()
    {
        var options = new KeyRingOptions();
        var key = await _there.SealAsync();
        _there.Store.OutOfReach = true;
        Assert.Equal(key, await _there.SealAsync());
        _there.Time.Advance(Lease + TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => _there.SealAsync());
        Assert.Equal(key, await _there.OpenAsync(key));
        _there.Time.Advance(options.MaximumKeyAge - Lease - TimeSpan.FromSeconds(2));
        Assert.Equal(key, await _there.OpenAsync(key));
        _there.Time.Advance(TimeSpan.FromMinutes(1));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => _there.OpenAsync(key));
        _there.Store.OutOfReach = false;
        Assert.Equal(key, await _there.OpenAsync(key));
        Assert.Equal(key, await _there.SealAsync());
    }

    [Theory]
    [InlineData(10)]
    [InlineData(-10)]
    public async Task Ten_minutes_of_clock_skew_change_no_outcome(int minutes)
    {
        var clock = new SkewedClock { Skew = TimeSpan.FromMinutes(minutes) };
        await using var skewed = new RingProcess(_database, _kms, clock: clock);
        var old = await skewed.SealAsync();
        Assert.Equal(old, await _here.SealAsync());
        var made = await _here.RotateAsync();

        // The wall clock jumps, the monotonic one does not move. Set back, it ends and begins nothing; set ahead, it has the ring asked before it had to be: the machine may have stood still.
        clock.Skew = -clock.Skew;
        Assert.Equal(minutes > 0 ? old : made.Id, await skewed.SealAsync());
        clock.Monotonic.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.Equal(made.Id, await skewed.SealAsync());

        // A rotation by a process whose clock is wrong counts for others as any other.
        var again = await skewed.RotateAsync();
        _here.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.Equal(again.Id, await _here.SealAsync());
        await _here.ChangeAsync(old, KeyState.Revoked);
        clock.Monotonic.Advance(Lease + TimeSpan.FromMilliseconds(1));
        await Assert.ThrowsAsync<KeyRevokedException>(() => skewed.OpenAsync(old));
    }

    [Fact]
    public async Task A_machine_that_stood_still_for_longer_than_the_lease_asks_before_it_seals()
    {
        var clock = new SkewedClock();
        await using var guest = new RingProcess(_database, _kms, clock: clock);
        var old = await guest.SealAsync();
        using var lease = new SealingLease(guest.Ring, isOfTransaction: false);
        Assert.Equal(old, (await guest.Ring.GetForSealingAsync(KeyScope.Global, guest.Store, guest.Transient, lease.Keys, default)).Id);
        var made = await _here.RotateAsync();

        // Paused, it sees the time pass by the wall clock alone.
        clock.Skew = Lease;
        Assert.True(lease.IsValid);
        clock.Skew = Lease + TimeSpan.FromSeconds(1);
        Assert.False(lease.IsValid);
        Assert.Equal(old, (await lease.FindRetiredAsync(guest.Store, default))?.Id);
        Assert.Equal(made.Id, await guest.SealAsync());
        clock.Skew += Lease + TimeSpan.FromSeconds(1);
        guest.Store.OutOfReach = true;
        await Assert.ThrowsAsync<KeyUnavailableException>(() => guest.SealAsync());
        Assert.Equal(old, await guest.OpenAsync(old));
    }

    [Fact]
    public async Task A_wall_clock_that_was_set_back_lengthens_no_lease()
    {
        var clock = new SkewedClock();
        await using var skewed = new RingProcess(_database, _kms, clock: clock);
        var old = await skewed.SealAsync();
        var made = await _here.RotateAsync();
        clock.Skew = -Lease;
        Assert.Equal(old, await skewed.SealAsync());
        clock.Monotonic.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.Equal(made.Id, await skewed.SealAsync());
    }

    [Fact]
    public async Task A_ring_that_was_restored_to_an_earlier_state_is_noticed_within_the_lease()
    {
        var first = await _there.SealAsync();
        await _here.RotateAsync();
        await _here.RotateAsync();
        _there.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        Assert.NotEqual(first, await _there.SealAsync());

        // The whole ring as it was before the second rotation: as a restore of the database leaves it.
        await _database.ExecuteAsync("DELETE FROM \"EnvelopeKeys\" WHERE \"Version\" = 3 AND \"Scope\" = 'global'");
        await _database.ExecuteAsync("UPDATE \"EnvelopeRing\" SET \"Epoch\" = 1");
        _there.Time.Advance(Lease + TimeSpan.FromMilliseconds(1));
        var sealing = await _there.SealAsync();
        Assert.Contains(await _here.Ring.ListAsync(includeRowKeys: false, _here.Store, default), e => e.Id == sealing && e.State == KeyState.Active);
    }

    private static async Task Eventually(Func<Task<bool>> condition)
    {
        for (var i = 0; i < 500; i++)
        {
            if (await condition())
            {
                return;
            }

            await Task.Delay(10);
        }

        Assert.Fail("It did not happen within five seconds.");
    }

    private sealed class SkewedClock : TimeProvider
    {
        public FakeTimeProvider Monotonic { get; } = new(DateTimeOffset.Parse("2026-01-01T00:00:00Z"));

        public TimeSpan Skew { get; set; }

        public override long TimestampFrequency => Monotonic.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => Monotonic.GetUtcNow() + Skew;

        public override long GetTimestamp() => Monotonic.GetTimestamp();
    }
}
