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
    public async Task What_one_replica_of_a_multi_region_key_wrapped_is_unwrapped_and_rewrapped_by_the_configured_one()
    {
        var primary = _server.CreateKey("alias/everywhere", multiRegion: true);
        var generated = await Service("alias/everywhere").GenerateKeyAsync(Context, default);
        Assert.Equal(primary, generated.Wrapped.RootKeyId);
        var replica = _server.MoveToReplica(primary, "eu-west-1");
        _server.PointAlias("alias/everywhere", replica);
        foreach (var configured in new[] { replica, "alias/everywhere" })
        {
            Assert.Equal(generated.Plaintext, await Service(configured).UnwrapAsync(generated.Wrapped, Context, default));
            var rewrapped = await Service(configured).RewrapAsync(generated.Wrapped, Context, default);
            Assert.Equal(replica, rewrapped.RootKeyId);
            Assert.Equal(generated.Plaintext, await Service(configured).UnwrapAsync(rewrapped, Context, default));
        }

        // Left for another root key, and listed by the replica that is here.
        var former = new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking", FormerKeyArns = replica }, _server.CreateClient());
        Assert.Equal(generated.Plaintext, await former.UnwrapAsync(generated.Wrapped, Context, default));
        Assert.All(_server.Requests.Where(r => r.Operation is "Decrypt" or "ReEncrypt"), r => Assert.DoesNotContain(primary, r.Body, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_replica_that_is_here_unwraps_also_where_the_one_that_wrapped_is_listed()
    {
        var primary = _server.CreateKey("alias/everywhere", multiRegion: true);
        var generated = await Service("alias/everywhere").GenerateKeyAsync(Context, default);
        var here = _server.MoveToReplica(primary, "eu-west-1");
        var next = _server.MoveToReplica(_server.CreateKey(multiRegion: true), "eu-west-1");
        foreach (var options in new[] { new AwsKmsOptions { KeyId = here, FormerKeyArns = primary }, new AwsKmsOptions { KeyId = next, FormerKeyArns = $"{primary}, {here}" } })
        {
            Assert.Equal(generated.Plaintext, await new AwsKeyManagementService(options, _server.CreateClient()).UnwrapAsync(generated.Wrapped, Context, default));
        }

        Assert.All(_server.Requests.Where(r => r.Operation == "Decrypt"), r => Assert.Contains(here, r.Body, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_configured_arn_is_not_asked_for_before_another_root_key_is_refused()
    {
        var foreign = (await Service().GenerateKeyAsync(Context, default)).Wrapped;
        var configured = _server.CreateKey();
        _server.Denied["DescribeKey"] = true;
        var refused = await Assert.ThrowsAsync<KeyRefusedException>(() => Service(configured).UnwrapAsync(foreign, Context, default));
        Assert.Contains("list it in AwsKmsOptions.FormerKeyArns", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, _server.Count("DescribeKey"));
    }

    [Fact]
    public async Task The_configured_root_key_is_not_left_for_itself_where_it_may_not_be_described()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        var service = Service(_arn);
        await using var context = new BankContext(database.Options(e => e.UseKeyManagementService(service)));
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "n", Ssn = "s" });
        await context.SaveChangesAsync();
        _server.Denied["DescribeKey"] = true;
        var keys = new EnvelopeKeys(context);
        Assert.Contains("is the configured one", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.CompromiseAsync(KeySelection.KmsKey(_arn), "test"))).Message, StringComparison.Ordinal);
        Assert.Contains("is the configured one", (await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => keys.RotateExpiredAsync(null, _arn))).Message, StringComparison.Ordinal);
        Assert.All(await keys.ListAsync(), key => Assert.Equal(KeyState.Active, key.State));
    }

    [Theory]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:key/mrk-1", "arn:aws:kms:us-east-1:111122223333:key/mrk-1", true)]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:key/mrk-1", "arn:aws:kms:us-east-1:111122223333:key/mrk-2", false)]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:key/mrk-1", "arn:aws:kms:us-east-1:444455556666:key/mrk-1", false)]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:key/mrk-1", "arn:aws-cn:kms:us-east-1:111122223333:key/mrk-1", false)]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:key/1", "arn:aws:kms:us-east-1:111122223333:key/1", false)]
    [InlineData("arn:aws:kms:eu-west-1:111122223333:alias/mrk-1", "arn:aws:kms:us-east-1:111122223333:alias/mrk-1", false)]
    [InlineData("mrk-1", "arn:aws:kms:us-east-1:111122223333:key/mrk-1", false)]
    [InlineData("alias/banking", "alias/banking", true)]
    public void Names_mean_one_key_where_they_are_equal_or_replicas_of_one(string one, string other, bool isSame)
    {
        Assert.Equal(isSame, KmsKeyArn.IsSameKey(one, other));
        Assert.Equal(isSame, KmsKeyArn.IsSameKey(other, one));
    }

    [Fact]
    public async Task A_permission_to_describe_that_lacks_is_told_as_that()
    {
        var wrapped = (await Service().GenerateKeyAsync(Context, default)).Wrapped;
        _server.Denied["DescribeKey"] = true;
        var refused = await Assert.ThrowsAsync<KeyRefusedException>(() => Service().UnwrapAsync(wrapped, Context, default));
        Assert.Contains("kms:DescribeKey", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("kms:Decrypt", refused.Message, StringComparison.Ordinal);

        // Not asked where the ARN is configured.
        Assert.Equal(32, (await Service(_arn).UnwrapAsync(wrapped, Context, default)).Length);
    }

    [Theory]
    [InlineData(null, "eu-west-3", "eu-west-3")]
    [InlineData("eu-west-3", null, "eu-west-3")]
    [InlineData(null, null, "us-east-1")]
    public async Task An_endpoint_is_asked_with_the_signature_of_the_keys_region(string? keysRegion, string? configured, string expected)
    {
        // Nothing configured: what the environment or a profile says counts, and neither does here.
        var expects = keysRegion is null && configured is null ? Amazon.Runtime.FallbackRegionFactory.GetRegionEndpoint(includeInstanceMetadata: false)?.SystemName ?? expected : expected;
        var keyId = keysRegion is null ? "alias/none" : $"arn:aws:kms:{keysRegion}:111122223333:key/none";
        var service = Over(new AwsKmsOptions { KeyId = keyId, ServiceUrl = _server.Url, Region = configured });
        var refused = await Assert.ThrowsAsync<KeyRefusedException>(() => service.GenerateKeyAsync(Context, default));
        Assert.Equal(expects, Assert.Single(_server.SigningRegions));
        Assert.Contains($"at {_server.Url}, signed for {expects}", refused.Message.Replace("/,", ",", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_never_answers_is_given_up_after_the_configured_time_and_retries()
    {
        _server.FailNext("", FakeKmsServer.Silence, times: 20);
        var service = Over(new AwsKmsOptions { KeyId = "alias/banking", ServiceUrl = _server.Url, Region = "us-east-1", Timeout = TimeSpan.FromSeconds(1), MaxRetries = 1 });
        var began = TimeProvider.System.GetTimestamp();
        var unreachable = await Assert.ThrowsAsync<KeyUnavailableException>(() => service.GenerateKeyAsync(Context, default).WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains("cannot be reached", unreachable.Message, StringComparison.Ordinal);
        Assert.True(TimeProvider.System.GetElapsedTime(began) > TimeSpan.FromSeconds(1.9));

        // By attempts: on a busy machine one may be given up before its request is on its way, and HTTP may send one twice.
        Assert.Equal(["attempt=1; max=2", "attempt=2; max=2"], _server.Attempts.Distinct());
    }

    /// <summary>As the SDK's roles and web identities fail: with the first call, and anew when the credentials end. It is no refusal of the key.</summary>
    [Fact]
    public async Task Credentials_that_cannot_be_had_are_told_as_that()
    {
        var token = new Amazon.Runtime.AmazonServiceException("User: arn:aws:iam::111122223333:user/x is not authorized") { ErrorCode = "AccessDenied" };
        foreach (var (error, says) in new (Exception, string)[]
        {
            (new Amazon.Runtime.AmazonClientException("Error calling AssumeRole for role arn:aws:iam::111122223333:role/app", token), "AccessDenied"),
            (new Amazon.Runtime.AmazonServiceException("Failed to retrieve credentials from EC2 Instance Metadata Service."), "AmazonServiceException"),
            (new InvalidOperationException("A token could not be loaded from the WebIdentityTokenFile."), "InvalidOperationException"),
        })
        {
            var client = new Amazon.KeyManagementService.AmazonKeyManagementServiceClient(new NoCredentials(error), new Amazon.KeyManagementService.AmazonKeyManagementServiceConfig { ServiceURL = _server.Url, MaxErrorRetry = 0 });
            var unavailable = await Assert.ThrowsAsync<KeyUnavailableException>(() => new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking" }, client).GenerateKeyAsync(Context, default));
            Assert.Contains("for want of credentials", unavailable.Message, StringComparison.Ordinal);
            Assert.Contains(says, unavailable.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("arn:", unavailable.Message, StringComparison.Ordinal);
        }
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

    /// <summary>With the settings that the options make.</summary>
    private static AwsKeyManagementService Over(AwsKmsOptions options)
        => new(options, new Amazon.KeyManagementService.AmazonKeyManagementServiceClient(new Amazon.Runtime.BasicAWSCredentials("test", "test"), AwsKeyManagementService.Configure(options)));

    private AwsKeyManagementService Service(string key = "alias/banking") => new(new AwsKmsOptions { KeyId = key }, _server.CreateClient());

    private sealed class NoCredentials(Exception error) : Amazon.Runtime.AWSCredentials
    {
        public override Amazon.Runtime.ImmutableCredentials GetCredentials() => throw error;

        public override Task<Amazon.Runtime.ImmutableCredentials> GetCredentialsAsync() => Task.FromException<Amazon.Runtime.ImmutableCredentials>(error);
    }
}
