using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;

namespace EfEnvelope.Tests.Keys;

/// <summary>Each error class of AWS KMS against the whole ring, with a cold and a warm cache (G19).</summary>
public sealed class KeyServiceTroubleTests : IAsyncLifetime
{
    private static readonly KeyRingOptions Options = new();

    private FakeKmsServer _server = null!;
    private string _arn = "";
    private TestDatabase _database = null!;

    public static TheoryData<string, int> Refusals => new()
    {
        { "AccessDeniedException", 400 },
        { "DisabledException", 400 },
        { "KMSInvalidStateException", 400 },
        { "NotFoundException", 400 },
        { "InvalidKeyUsageException", 400 },
        { "UnrecognizedClientException", 400 },
    };

    public static TheoryData<string, int> Transients => new()
    {
        { "ThrottlingException", 400 },
        { "DependencyTimeoutException", 500 },
        { "KMSInternalException", 500 },
        { "KeyUnavailableException", 500 },
        { "InternalFailure", 503 },
        { "LimitExceededException", 400 },
        { "ExpiredTokenException", 400 },
        { "", 0 },
    };

    public async Task InitializeAsync()
    {
        _server = await FakeKmsServer.StartAsync();
        _arn = _server.CreateKey("alias/banking");
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var creator = await Process().CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task A_refusal_is_a_typed_error_at_once_when_cold_and_at_the_next_revalidation_when_warm(string type, int status)
    {
        await using var warm = Process();
        var key = await warm.SealAsync();
        Fail(type, status);
        await using var cold = Process();
        await Assert.ThrowsAsync<KeyRefusedException>(() => cold.SealAsync());
        await Assert.ThrowsAsync<KeyRefusedException>(() => cold.OpenAsync(key));

        // Within the interval the warm one asks nobody.
        Assert.Equal(key, await warm.SealAsync());
        Assert.Equal(key, await warm.OpenAsync(key));
        warm.Time.Advance(Options.KeyRevalidationInterval + TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<KeyRefusedException>(() => warm.OpenAsync(key));
        await Assert.ThrowsAsync<KeyRefusedException>(() => warm.SealAsync());

        // And it lasts until the service confirms again.
        _server.StopFailing();
        warm.Time.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal(key, await warm.OpenAsync(key));
        Assert.Equal(key, await warm.SealAsync());
    }

    [Theory]
    [MemberData(nameof(Transients))]
    public async Task In_an_outage_a_cold_process_gets_a_typed_error_and_held_keys_serve_on_up_to_the_stated_age(string type, int status)
    {
        await using var warm = Process();
        var key = await warm.SealAsync();
        var kek = await warm.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@global", 1, warm.Store, warm.Transient, default);
        kek.Key.Drop();
        Fail(type, status);
        await using var cold = Process();
        await Assert.ThrowsAsync<KeyUnavailableException>(() => cold.SealAsync());
        await Assert.ThrowsAsync<KeyUnavailableException>(() => cold.OpenAsync(key));

        foreach (var age in new[] { Options.KeyRevalidationInterval * 1.5, Options.MaximumKeyAge - TimeSpan.FromMinutes(1) })
        {
            warm.Time.Advance(age - (warm.Time.GetUtcNow() - warm.Time.Start));
            Assert.Equal(key, await warm.OpenAsync(key));
            Assert.Equal(key, await warm.SealAsync());
            (await warm.Ring.DraftRowKeyAsync($"row:{Guid.NewGuid()}@global", 1, warm.Store, warm.Transient, default)).Key.Drop();
        }

        warm.Time.Advance(TimeSpan.FromMinutes(2));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.OpenAsync(key));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.SealAsync());
        _server.StopFailing();
        Assert.Equal(key, await warm.OpenAsync(key));
        Assert.Equal(key, await warm.SealAsync());
    }

    [Fact]
    public async Task A_service_that_never_answers_is_an_outage()
    {
        var timeout = TimeSpan.FromSeconds(2);
        await using var warm = Process(timeout: timeout);
        var key = await warm.SealAsync();
        Fail("", FakeKmsServer.Silence);
        await using var cold = Process(timeout: timeout);
        await Assert.ThrowsAsync<KeyUnavailableException>(() => cold.OpenAsync(key));
        warm.Time.Advance(Options.KeyRevalidationInterval * 1.5);
        Assert.Equal(key, await warm.OpenAsync(key));
        warm.Time.Advance(Options.MaximumKeyAge);
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.OpenAsync(key));
        _server.StopFailing();
        Assert.Equal(key, await warm.OpenAsync(key));
    }

    /// <summary>Packets are dropped: each call lasts until its time-out.</summary>
    [Fact]
    public async Task A_service_that_does_not_answer_costs_the_keys_of_a_query_one_short_wait_together()
    {
        var kms = new ScriptedKeyService();
        await using var warm = new RingProcess(_database, kms, Options);
        var keys = new List<Guid>();
        for (var i = 0; i < 20; i++)
        {
            keys.Add(await warm.SealAsync($"tenant:{i}"));
        }

        var silence = new TaskCompletionSource();
        kms.Gate = () => silence.Task;
        warm.Time.Advance(Options.KeyRevalidationInterval * 1.5);
        var asked = kms.Unwrapped;
        using var pins = new KeyPins();
        var before = warm.Time.GetUtcNow();
        var load = warm.Ring.LoadForOpeningAsync(keys, warm.Store, warm.Transient, pins, default).AsTask();
        while (!load.IsCompleted)
        {
            warm.Time.Advance(TimeSpan.FromMilliseconds(100));
            await Task.WhenAny(load, Task.Delay(1));
        }

        await load;
        Assert.Equal(keys.Order(), pins.Ids.Order());
        Assert.InRange(kms.Unwrapped - asked, 1, 2);
        Assert.True(warm.Time.GetUtcNow() - before < TimeSpan.FromSeconds(20), $"{warm.Time.GetUtcNow() - before} of the process's clock");

        // The answer that comes later is heard: a refusal counts at the next use.
        kms.Failure = () => new KeyRefusedException("disabled (injected)");
        silence.SetResult();
        await Assert.ThrowsAsync<KeyRefusedException>(async () =>
        {
            for (var i = 0; i < 1_000; i++)
            {
                await warm.OpenAsync(keys[0]);
                warm.Time.Advance(TimeSpan.FromSeconds(1));
                await Task.Yield();
            }
        });
    }

    /// <summary>Another cache of the process saw a change; before this one could ask for it, the ring is gone.</summary>
    [Fact]
    public async Task A_cache_that_is_outdated_serves_on_while_the_ring_is_out_of_reach()
    {
        await using var warm = new RingProcess(_database, new ScriptedKeyService(), Options);
        var key = await warm.SealAsync();
        warm.Time.Advance(Options.MaximumKeyAge * 2);
        Assert.Equal(key, await warm.OpenAsync(key));
        warm.Ring.Outdate(warm.Ring.Id!.Value, long.MaxValue);
        warm.Store.OutOfReach = true;
        Assert.Equal(key, await warm.OpenAsync(key));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.SealAsync());
    }

    /// <summary>The connection ended between the commit and its answer.</summary>
    [Fact]
    public async Task A_change_whose_answer_is_lost_is_told_as_done()
    {
        await using var process = new RingProcess(_database, new ScriptedKeyService(), Options);
        var key = await process.SealAsync("tenant:x");
        process.Store.LosesAnswer = true;
        var successor = await process.RotateAsync("tenant:x");
        Assert.Equal(2, successor.Version);
        process.Store.LosesAnswer = true;
        Assert.Equal(key, Assert.Single(await process.CompromiseAsync(key)).Id);
        process.Store.LosesAnswer = true;
        var erased = await process.Ring.EraseAsync("tenant:x", "test", null, process.Store, default);
        Assert.Equal(2, erased.Count);
    }

    [Fact]
    public async Task A_greatest_age_below_the_interval_of_revalidation_is_kept_in_an_outage()
    {
        await using var warm = Process(Options with { MaximumKeyAge = TimeSpan.FromMinutes(5) });
        var key = await warm.SealAsync();
        Fail("InternalFailure", 503);
        warm.Time.Advance(TimeSpan.FromMinutes(5));
        Assert.Equal(key, await warm.OpenAsync(key));
        Assert.Equal(key, await warm.SealAsync());
        warm.Time.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.OpenAsync(key));
        await Assert.ThrowsAsync<KeyUnavailableException>(() => warm.SealAsync());
        _server.StopFailing();
        Assert.Equal(key, await warm.OpenAsync(key));
        Assert.Equal(key, await warm.SealAsync());
    }

    [Fact]
    public async Task A_disabled_root_key_that_is_then_out_of_reach_stays_refused()
    {
        await using var warm = Process();
        var key = await warm.SealAsync();
        warm.Time.Advance(Options.KeyRevalidationInterval + TimeSpan.FromSeconds(1));
        Fail("DisabledException", 400);
        await Assert.ThrowsAsync<KeyRefusedException>(() => warm.OpenAsync(key));
        _server.StopFailing();
        Fail("InternalFailure", 503);
        warm.Time.Advance(TimeSpan.FromSeconds(3));
        await Assert.ThrowsAsync<KeyRefusedException>(() => warm.OpenAsync(key));
    }

    [Fact]
    public async Task A_refused_key_is_not_asked_for_at_every_use()
    {
        await using var warm = Process();
        var key = await warm.SealAsync();
        warm.Time.Advance(Options.KeyRevalidationInterval + TimeSpan.FromSeconds(1));
        Fail("AccessDeniedException", 400);
        var before = _server.Count("Decrypt");
        for (var i = 0; i < 50; i++)
        {
            await Assert.ThrowsAsync<KeyRefusedException>(() => warm.OpenAsync(key));
        }

        Assert.Equal(1, _server.Count("Decrypt") - before);
    }

    [Fact]
    public async Task A_key_in_use_is_revalidated_in_the_background_before_it_is_due()
    {
        await using var warm = Process();
        var key = await warm.SealAsync();
        var before = _server.Count("Decrypt");
        warm.Time.Advance(Options.KeyRevalidationInterval * 0.8);
        Assert.Equal(key, await warm.SealAsync());
        for (var i = 0; i < 500 && _server.Count("Decrypt") == before; i++)
        {
            await Task.Delay(10);
        }

        // The mac key may have followed by now.
        Assert.InRange(_server.Count("Decrypt") - before, 1, 2);
    }

    /// <summary>Nothing else of a ring is under a former root key after a rotation, and a process asks for it once: disabled or deleted, it stops the next process that starts.</summary>
    [Fact]
    public async Task The_root_key_that_only_the_mac_key_is_under_is_asked_too_until_it_is_rewrapped()
    {
        await using (var maker = Process())
        {
            await maker.SealAsync();
        }

        _server.PointAlias("alias/banking", _server.CreateKey());
        await using var warm = new RingProcess(_database, new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking", FormerKeyArns = _arn }, _server.CreateClient()), Options);
        await warm.RotateAsync();
        var key = await warm.SealAsync();
        var former = Of(_arn).Count();
        _server.SetState(_arn, "Disabled");
        Assert.Equal(former + 1, await AskedAsync());
        Assert.Equal(key, await warm.OpenAsync(key));
        Assert.Equal(key, await warm.SealAsync());

        _server.SetState(_arn, "Enabled");
        var mac = (await warm.Ring.ListAsync(includeRowKeys: false, warm.Store, default)).Single(e => e.Purpose == KeyPurpose.Mac);
        Assert.True(await warm.Ring.RewrapAsync(mac.Id, warm.Store, default));
        _server.SetState(_arn, "Disabled");
        Assert.Equal((former + 2, 1), (await AskedAsync(), Of(_arn).Count(r => r.Operation == "ReEncrypt")));

        // Both root keys' share of the calls: the field key's and the mac key's.
        async Task<int> AskedAsync()
        {
            var before = _server.Count("Decrypt");
            warm.Time.Advance(Options.KeyRevalidationInterval * 0.8);
            Assert.Equal(key, await warm.SealAsync());
            for (var i = 0; i < 500 && _server.Count("Decrypt") < before + 2; i++)
            {
                await Task.Delay(10);
            }

            Assert.Equal(before + 2, _server.Count("Decrypt"));
            return Of(_arn).Count();
        }

        IEnumerable<(string Operation, string Body)> Of(string arn) => _server.Requests.Where(r => r.Operation is "Decrypt" or "ReEncrypt" && r.Body.Contains(arn, StringComparison.Ordinal));
    }

    private RingProcess Process(KeyRingOptions? options = null, TimeSpan? timeout = null)
        => new(_database, new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking" }, _server.CreateClient(timeout: timeout)), options ?? Options with { });

    // The HTTP client itself tries a dropped connection again.
    private void Fail(string type, int status) => _server.FailNext(type, status, times: 10_000);
}
