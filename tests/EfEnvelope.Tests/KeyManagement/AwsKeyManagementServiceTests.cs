using EfEnvelope.KeyManagement;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.KeyManagement;

public sealed class AwsKeyManagementServiceTests : IAsyncLifetime
{
    private static readonly Dictionary<string, string> Context = new() { ["a"] = "b" };

    private FakeKmsServer _server = null!;
    private string _arn = null!;

    public async Task InitializeAsync()
    {
        _server = await FakeKmsServer.StartAsync();
        _arn = _server.CreateKey("alias/banking");
    }

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task An_alias_is_resolved_to_the_arn_when_a_key_is_wrapped_and_decrypt_names_it()
    {
        var service = Service();
        var wrapped = (await service.GenerateKeyAsync(Context, default)).Wrapped;
        Assert.Equal(_arn, wrapped.RootKeyId);
        Assert.NotNull(wrapped.KeyMaterialId);
        await service.UnwrapAsync(wrapped, Context, default);
        Assert.Contains(_arn, _server.Requests.Last(r => r.Operation == "Decrypt").Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_blob_of_somebody_elses_key_is_refused()
    {
        var other = _server.CreateKey("alias/other");
        var foreign = (await Service("alias/other").GenerateKeyAsync(Context, default)).Wrapped;
        await Assert.ThrowsAsync<KeyRefusedException>(() => Service().UnwrapAsync(foreign, Context, default));
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => Service().UnwrapAsync(foreign with { RootKeyId = _arn }, Context, default));
        Assert.DoesNotContain(_server.Requests, r => r.Operation == "Decrypt" && r.Body.Contains(other, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_repointed_alias_still_opens_with_the_listed_former_key_only()
    {
        var wrapped = (await Service().GenerateKeyAsync(Context, default)).Wrapped;
        _server.PointAlias("alias/banking", _server.CreateKey());
        await Assert.ThrowsAsync<KeyRefusedException>(() => Service().UnwrapAsync(wrapped, Context, default));
        var allowed = new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking", FormerKeyArns = _arn }, _server.CreateClient());
        Assert.Equal(32, (await allowed.UnwrapAsync(wrapped, Context, default)).Length);
        Assert.NotEqual(_arn, (await allowed.RewrapAsync(wrapped, Context, default)).RootKeyId);
    }

    [Theory]
    [InlineData("AccessDeniedException", 400, typeof(KeyRefusedException))]
    [InlineData("DisabledException", 400, typeof(KeyRefusedException))]
    [InlineData("KMSInvalidStateException", 400, typeof(KeyRefusedException))]
    [InlineData("NotFoundException", 400, typeof(KeyRefusedException))]
    [InlineData("ThrottlingException", 400, typeof(KeyUnavailableException))]
    [InlineData("DependencyTimeoutException", 500, typeof(KeyUnavailableException))]
    [InlineData("KMSInternalException", 500, typeof(KeyUnavailableException))]
    [InlineData("InternalFailure", 503, typeof(KeyUnavailableException))]
    [InlineData("", 0, typeof(KeyUnavailableException))]
    public async Task Every_error_class_has_its_typed_error(string type, int status, Type expected)
    {
        // The HTTP client itself tries a dropped connection again.
        _server.FailNext(type, status, times: 50);
        var error = await Record.ExceptionAsync(() => Service().GenerateKeyAsync(Context, default));
        Assert.IsType(expected, error);
    }

    [Fact]
    public async Task An_unknown_alias_and_an_unreachable_endpoint_say_what_to_do()
    {
        Assert.Contains("does not exist", (await Assert.ThrowsAsync<KeyRefusedException>(() => Service("alias/none").GenerateKeyAsync(Context, default))).Message, StringComparison.Ordinal);
        var nowhere = new AwsKeyManagementService(
            new AwsKmsOptions { KeyId = "alias/banking" },
            new Amazon.KeyManagementService.AmazonKeyManagementServiceClient(
                new Amazon.Runtime.BasicAWSCredentials("a", "b"), new Amazon.KeyManagementService.AmazonKeyManagementServiceConfig { ServiceURL = "http://127.0.0.1:1", AuthenticationRegion = "us-east-1", MaxErrorRetry = 0 }));
        var unreachable = await Assert.ThrowsAsync<KeyUnavailableException>(() => nowhere.GenerateKeyAsync(Context, default));
        Assert.Contains("at http://127.0.0.1:1", unreachable.Message, StringComparison.Ordinal);
        Assert.IsType<HttpRequestException>(unreachable.InnerException);
        Assert.Contains(unreachable.InnerException.Message, unreachable.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_whole_context_runs_on_it_and_the_kms_sees_no_personal_data()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        var tenant = Guid.NewGuid();
        BankContext New() => new(database.Options(e => e.UseKeyManagementService(_service ??= Service())));
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Customer { TenantId = tenant, FullName = "canary-name", Ssn = "canary-ssn" });
            await context.SaveChangesAsync();
        }

        await using (var context = New())
        {
            Assert.Equal("canary-name", (await context.Customers.SingleAsync()).FullName);
            _server.RotateMaterial(_arn);
            Assert.Equal(2, await new EnvelopeKeys(context).RewrapAsync());
        }

        Assert.Equal(2, _server.Count("GenerateDataKey"));
        Assert.All(_server.Requests, r =>
        {
            Assert.DoesNotContain("canary", r.Body, StringComparison.Ordinal);
            Assert.DoesNotContain(tenant.ToString(), r.Body, StringComparison.OrdinalIgnoreCase);
        });
    }

    private IKeyManagementService? _service;

    private AwsKeyManagementService Service(string key = "alias/banking") => new(new AwsKmsOptions { KeyId = key }, _server.CreateClient());
}
