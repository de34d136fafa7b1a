using Amazon.KeyManagementService;
using Amazon.KeyManagementService.Model;
using Amazon.Runtime;
using Amazon.Runtime.Credentials;
using EfEnvelope.Tests.KeyManagement.FakeKms;

namespace EfEnvelope.Tests.KeyManagement;

/// <summary>
/// A KMS from outside: the endpoint of <c>AWS_ENDPOINT_URL_KMS</c> (an emulator, or AWS itself) with the SDK's ordinary credentials (made-up ones where it finds none: emulators ask for none) and region, and the key of <c>AWS_KMS_TEST_KEY</c>, or one that is made
/// there. Without that variable a server of the test's own, reached the same way.
/// </summary>
internal sealed class GivenKms : IAsyncDisposable
{
    /// <summary>Looked for once: where there are none, the SDK asks the machine for a role, and waits.</summary>
    private static readonly Lazy<Task<AWSCredentials>> Ordinary = new(FindCredentialsAsync);

    private readonly FakeKmsServer? _own;

    private GivenKms(IAmazonKeyManagementService client, string keyId, FakeKmsServer? own)
    {
        (Client, KeyId) = (client, keyId);
        _own = own;
    }

    public IAmazonKeyManagementService Client { get; }

    public string KeyId { get; }

    public static async Task<GivenKms> OpenAsync()
    {
        var endpoint = Variable("AWS_ENDPOINT_URL_KMS");
        var own = endpoint is null ? await FakeKmsServer.StartAsync() : null;
        var config = new AmazonKeyManagementServiceConfig { ServiceURL = endpoint ?? own!.Url, AuthenticationRegion = Variable("AWS_REGION") ?? Variable("AWS_DEFAULT_REGION") ?? "us-east-1" };
        var client = new AmazonKeyManagementServiceClient(own is null ? await Ordinary.Value : new BasicAWSCredentials("test", "test"), config);
        var key = own is null ? Variable("AWS_KMS_TEST_KEY") : null;
        key ??= (await client.CreateKeyAsync(new CreateKeyRequest { Description = "EfEnvelope tests" })).KeyMetadata.Arn;
        return new GivenKms(client, key, own);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (_own is not null)
        {
            await _own.DisposeAsync();
        }
    }

    private static async Task<AWSCredentials> FindCredentialsAsync()
    {
        try
        {
            var credentials = DefaultAWSCredentialsIdentityResolver.GetCredentials();
            await credentials.GetCredentialsAsync();
            return credentials;
        }
        catch (Exception none) when (none is AmazonClientException or AmazonServiceException)
        {
            return new BasicAWSCredentials("test", "test");
        }
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
