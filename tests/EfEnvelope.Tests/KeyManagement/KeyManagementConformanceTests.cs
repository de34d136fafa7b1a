using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.KeyManagement.FakeKms;

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

public sealed class AwsConformanceTests : KeyManagementConformanceTests
{
    private FakeKmsServer? _server;

    public override async Task DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    private protected override async Task<IKeyManagementService> CreateAsync()
    {
        if (Environment.GetEnvironmentVariable("AWS_ENDPOINT_URL_KMS") is { Length: > 0 })
        {
            return new AwsKeyManagementService(new AwsKmsOptions { KeyId = Environment.GetEnvironmentVariable("AWS_KMS_TEST_KEY") ?? "alias/efenvelope-test" }, client: null);
        }

        _server = await FakeKmsServer.StartAsync();
        _server.CreateKey("alias/banking");
        return new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking" }, _server.CreateClient());
    }
}
