using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Lifecycle;

/// <summary>What the ring and other processes say of a planned destruction.</summary>
public abstract partial class DestructionTests
{
    [Theory]
    [InlineData("\"DestructionDueAt\" = 1")]
    [InlineData("\"DestructionDueAt\" = NULL")]
    [InlineData("\"FormerState\" = 1")]
    [InlineData("\"FormerState\" = NULL")]
    [InlineData("\"ChangedBy\" = NULL")]
    [InlineData("\"State\" = 2, \"DestructionDueAt\" = NULL, \"FormerState\" = NULL")]
    public async Task What_the_ring_says_of_a_planned_destruction_is_authenticated(string change)
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var (key, _) = await RetireAsync(context);
        await new EnvelopeKeys(context).DestroyAsync(key.Id);
        await Database.ExecuteAsync($"UPDATE \"EnvelopeKeys\" SET {change} WHERE {IdIs(key.Id)}");
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).DestroyDueAsync());
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => new EnvelopeKeys(context).CancelDestructionAsync(key.Id));
        Assert.NotEmpty(await WrappedAsync(key.Id));
    }

    [Fact]
    public async Task Other_processes_learn_of_a_planned_destruction_and_of_its_cancellation_within_the_lease()
    {
        await using var here = await new RingProcess(Database, Database.KeyService).CreateAsync();
        await using var there = new RingProcess(Database, here.Kms);
        var key = await there.SealAsync("tenant:1");
        await here.RotateAsync("tenant:1");
        Assert.Equal(key, await there.OpenAsync(key));
        await here.Ring.ScheduleDestructionAsync(await here.Ring.FindScopeKeyAsync(key, here.Store, default), TimeSpan.FromDays(30), "test", "me", here.Store, default);
        await Assert.ThrowsAsync<KeyRevokedException>(() => here.OpenAsync(key));
        there.Time.Advance(TimeSpan.FromSeconds(61));
        await Assert.ThrowsAsync<KeyRevokedException>(() => there.OpenAsync(key));
        await here.Ring.CancelDestructionAsync(key, "test", "me", here.Store, default);
        there.Time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(key, await there.OpenAsync(key));
        Assert.Equal(key, await here.OpenAsync(key));
    }

    [Fact]
    public async Task An_execution_that_a_cancellation_overtook_destroys_nothing()
    {
        await using var here = await new RingProcess(Database, Database.KeyService).CreateAsync();
        await using var there = new RingProcess(Database, here.Kms);
        var key = await here.SealAsync("tenant:1");
        await here.RotateAsync("tenant:1");
        var due = (await here.Ring.ScheduleDestructionAsync(await here.Ring.FindScopeKeyAsync(key, here.Store, default), TimeSpan.FromDays(7), "test", "me", here.Store, default)).Listed;
        here.Time.Advance(TimeSpan.FromDays(8));
        await there.Ring.CancelDestructionAsync(key, "test", "me", there.Store, default);
        Assert.Empty(await here.Ring.DestroyDueAsync(due, here.Store, default));

        // Scheduled anew: the former decision, and its time, no longer count.
        await there.Ring.ScheduleDestructionAsync(await there.Ring.FindScopeKeyAsync(key, there.Store, default), TimeSpan.FromDays(7), "test", "me", there.Store, default);
        Assert.Empty(await here.Ring.DestroyDueAsync(due, here.Store, default));
        Assert.NotEmpty((await here.Ring.FindScopeKeyAsync(key, here.Store, default)).Wrapped);
    }

    [Fact]
    public async Task An_export_neither_brings_a_planned_destruction_nor_ends_one()
    {
        await using var context = New();
        await SeedAsync(context, 2, 0);
        var (key, _) = await RetireAsync(context);
        var keys = new EnvelopeKeys(context);
        using var before = new MemoryStream();
        await keys.ExportAsync(before);
        await keys.DestroyAsync(key.Id);
        before.Position = 0;
        Assert.Equal(0, (await keys.ImportAsync(before)).Changed);
        Assert.Equal(KeyState.PendingDestruction, (await KeyAsync(context, ScopeA.Value)).State);

        using var during = new MemoryStream();
        await keys.ExportAsync(during);
        await keys.CancelDestructionAsync(key.Id);
        during.Position = 0;
        Assert.Equal(0, (await keys.ImportAsync(during)).Changed);
        Assert.Equal(KeyState.Deactivated, (await KeyAsync(context, ScopeA.Value)).State);
    }
}
