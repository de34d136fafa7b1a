using System.Collections.Concurrent;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.Keys;

/// <summary>Savers, readers, rotations, compromises and evictions in two processes at once: everybody is served, and with a key of the right scope.</summary>
public sealed class RingChaosTests
{
    [Fact]
    public async Task Everybody_is_served_while_everything_changes()
    {
        const int scopes = 40;
        const int rounds = 120;
        await using var database = await TestDatabase.CreateAsync("PostgreSQL");
        var kms = new ScriptedKeyService();
        var options = new KeyRingOptions { MaxCachedKeys = 16, SealingLease = TimeSpan.FromSeconds(2) };
        await using var first = await new RingProcess(database, kms, options).CreateAsync();
        await using var second = new RingProcess(database, kms, options);
        var known = new ConcurrentBag<(Guid Id, string Scope)>();
        var workers = new List<Task>();
        foreach (var process in new[] { first, second })
        {
            for (var worker = 0; worker < 4; worker++)
            {
                var seed = worker;
                workers.Add(Task.Run(async () =>
                {
                    using var transient = new TransientKeys();
                    for (var i = 0; i < rounds; i++)
                    {
                        using var pins = new KeyPins();
                        var wanted = Enumerable.Range(0, 3).Select(n => $"tenant:{((seed * 7) + (i * 3) + n) % scopes}").ToList();
                        var keys = await process.Ring.GetForSealingAsync(wanted, process.Store, transient, pins, default);
                        foreach (var scope in wanted)
                        {
                            Assert.Equal(scope, keys[scope].Scope);
                            Assert.False(keys[scope].Key.IsDisposed);
                            known.Add((keys[scope].Id, scope));
                        }

                        var ids = known.Take(20).ToList();
                        using var reading = new KeyPins();
                        await process.Ring.LoadForOpeningAsync([.. ids.Select(k => k.Id).Distinct()], process.Store, transient, reading, default);
                        foreach (var (id, scope) in ids)
                        {
                            Assert.True(reading.TryGet(id, out var key), "A key was not loaded.");
                            Assert.Equal(scope, key.Scope);
                            Assert.False(key.Key.IsDisposed);
                        }
                    }
                }));
            }
        }

        workers.Add(Task.Run(async () =>
        {
            for (var i = 0; i < 25; i++)
            {
                var process = i % 2 == 0 ? first : second;
                var made = await process.RotateAsync($"tenant:{i * 3 % scopes}");
                if (i % 3 == 0)
                {
                    await process.CompromiseAsync(made.Id);
                }

                first.Time.Advance(TimeSpan.FromMilliseconds(700));
                second.Time.Advance(TimeSpan.FromMilliseconds(900));
            }
        }));
        await Task.WhenAll(workers);
        Assert.InRange(first.Ring.Count, 1, 2 * options.MaxCachedKeys);
        await using var judge = new RingProcess(database, kms);
        foreach (var lineage in (await judge.Ring.ListAsync(includeRowKeys: false, judge.Store, default)).Where(e => e.Scope != KeyScope.Global).GroupBy(e => (e.Scope, e.Purpose)))
        {
            Assert.Single(lineage, e => e.State == KeyState.Active);
        }
    }
}
