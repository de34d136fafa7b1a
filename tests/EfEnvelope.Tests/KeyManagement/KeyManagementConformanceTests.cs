using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.KeyManagement;

/// <summary>What every key service does alike.</summary>
public abstract class KeyManagementConformanceTests : IAsyncLifetime
{
    private static readonly Dictionary<string, string> Context = new() { ["tenant"] = "acme", ["purpose"] = "field" };

    private IKeyManagementService _service = null!;

    public async Task InitializeAsync() => _service = await CreateAsync();

    public virtual Task DisposeAsync() => Task.CompletedTask;

    [Fact]
    public async Task A_generated_key_unwraps_to_itself()
    {
        var generated = await _service.GenerateKeyAsync(Context, default);
        Assert.Equal(32, generated.Plaintext.Length);
        Assert.Equal(generated.Plaintext, await _service.UnwrapAsync(generated.Wrapped, Context, default));
        Assert.NotEqual(generated.Plaintext, (await _service.GenerateKeyAsync(Context, default)).Plaintext);
    }

    [Fact]
    public async Task Another_context_is_refused_also_with_shifted_boundaries()
    {
        var wrapped = (await _service.GenerateKeyAsync(Context, default)).Wrapped;
        Dictionary<string, string>[] others =
        [
            [],
            new() { ["tenant"] = "acme" },
            new() { ["tenanta"] = "cme", ["purpose"] = "field" },
            new() { ["tenant"] = "Acme", ["purpose"] = "field" },
            new() { ["tenant"] = "acme", ["purpose"] = "field", ["more"] = "" },
        ];
        foreach (var other in others)
        {
            await Assert.ThrowsAsync<KeyRingTamperedException>(() => _service.UnwrapAsync(wrapped, other, default));
        }
    }

    [Fact]
    public async Task A_changed_blob_is_refused()
    {
        var wrapped = (await _service.GenerateKeyAsync(Context, default)).Wrapped;
        var changed = wrapped.Ciphertext.ToArray();
        changed[^1] ^= 1;
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => _service.UnwrapAsync(wrapped with { Ciphertext = changed }, Context, default));
    }

    [Fact]
    public async Task Rewrapping_keeps_the_key_and_changes_the_blob()
    {
        var generated = await _service.GenerateKeyAsync(Context, default);
        var again = await _service.RewrapAsync(generated.Wrapped, Context, default);
        Assert.NotEqual(generated.Wrapped.Ciphertext, again.Ciphertext);
        Assert.Equal(generated.Plaintext, await _service.UnwrapAsync(again, Context, default));
        var wrapped = await _service.WrapAsync(generated.Plaintext, Context, default);
        Assert.Equal(generated.Plaintext, await _service.UnwrapAsync(wrapped, Context, default));
    }

    [Fact]
    public async Task The_root_key_describes_itself_and_a_foreign_one_is_refused()
    {
        var root = await _service.DescribeRootKeyAsync(default);
        Assert.True(root.IsUsable);
        var wrapped = (await _service.GenerateKeyAsync(Context, default)).Wrapped;
        Assert.Equal(root.RootKeyId, wrapped.RootKeyId);
        await Assert.ThrowsAsync<KeyRefusedException>(() => _service.UnwrapAsync(wrapped with { RootKeyId = wrapped.RootKeyId + "x" }, Context, default));
    }

    private protected abstract Task<IKeyManagementService> CreateAsync();
}

public sealed class InMemoryConformanceTests : KeyManagementConformanceTests
{
    private protected override Task<IKeyManagementService> CreateAsync() => Task.FromResult<IKeyManagementService>(new InMemoryKeyManagementService());
}

public sealed class LocalConformanceTests : KeyManagementConformanceTests
{
    private readonly string _folder = Directory.CreateTempSubdirectory("efenvelope-kms-").FullName;

    public override Task DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return Task.CompletedTask;
    }

    private protected override Task<IKeyManagementService> CreateAsync()
        => Task.FromResult<IKeyManagementService>(new LocalKeyManagementService(new LocalKmsOptions { Path = Path.Combine(_folder, "keys.json"), Environment = "Development" }));
}

/// <summary>Over HTTP: a server of our own, through the way that serves somebody else's (<c>AWS_ENDPOINT_URL_KMS</c>).</summary>
public sealed class AwsConformanceTests : KeyManagementConformanceTests
{
    private GivenKms? _kms;

    public override async Task DisposeAsync()
    {
        if (_kms is not null)
        {
            await _kms.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_whole_context_runs_on_it()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        BankContext New(TimeProvider clock) => new(database.Options(e => e.UseKeyManagementService(new AwsKeyManagementService(new AwsKmsOptions { KeyId = _kms!.KeyId }, _kms.Client)).UseTimeProvider(clock)));
        var tenant = Guid.NewGuid();
        await using (var context = New(new FakeTimeProvider()))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Customer { TenantId = tenant, FullName = "canary one", Ssn = "canary" });
            context.Add(new PaymentCard { TenantId = tenant, Number = "canary card" });
            await context.SaveChangesAsync();
        }

        await using var cold = New(new FakeTimeProvider());
        Assert.Equal("canary one", (await cold.Customers.SingleAsync()).FullName);
        Assert.Equal("canary card", (await cold.Cards.SingleAsync()).Number);
        Assert.True(await new EnvelopeKeys(cold).RewrapAsync() >= 3);
        await using var after = New(new FakeTimeProvider());
        Assert.Equal("canary one", (await after.Customers.AsNoTracking().SingleAsync()).FullName);
        await StoredCells.AssertSealedAsync(database, after, "canary");
    }

    private protected override async Task<IKeyManagementService> CreateAsync()
    {
        _kms = await GivenKms.OpenAsync();
        return new AwsKeyManagementService(new AwsKmsOptions { KeyId = _kms.KeyId }, _kms.Client);
    }
}
