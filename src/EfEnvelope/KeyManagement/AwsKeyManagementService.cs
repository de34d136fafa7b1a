using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Amazon;
using Amazon.KeyManagementService;
using Amazon.KeyManagementService.Model;
using Amazon.Runtime;

namespace EfEnvelope.KeyManagement;

/// <summary>
/// AWS KMS through the AWS SDK, which signs, retries with backoff and times out. <c>Decrypt</c> always names the key that wrapped, which must be the configured one or a listed former
/// one, or the replica of it that is configured or listed, with the exact encryption context: a blob of somebody else's key is refused by KMS. Thread safe.
/// </summary>
internal sealed class AwsKeyManagementService : IKeyManagementService, IKnownRootKey, IDisposable
{
    private static readonly string[] CredentialWords = ["credentials", "AssumeRole", "WebIdentityToken"];

    private readonly IAmazonKeyManagementService _client;
    private readonly bool _owned;
    private readonly AwsKmsOptions _options;
    private readonly HashSet<string> _allowed;
    private volatile string? _keyArn;

    public AwsKeyManagementService(AwsKmsOptions options, IAmazonKeyManagementService? client)
    {
        options.Validate("");
        _options = options;
        _allowed = [.. options.FormerKeyArns.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];
        _keyArn = KmsKeyArn.IsKey(options.KeyId) ? options.KeyId : null;
        _owned = client is null;
        _client = client ?? Create(options);
    }

    public string Provider => "aws-kms";

    /// <summary>The ARN that is configured, or that the configured alias or id was last seen to mean.</summary>
    public string? KnownRootKeyId => _keyArn;

    public Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => Guard("GenerateDataKey", async () =>
        {
            var response = await _client.GenerateDataKeyAsync(
                new GenerateDataKeyRequest { KeyId = _options.KeyId, NumberOfBytes = 32, EncryptionContext = Copy(encryptionContext) }, cancellationToken).ConfigureAwait(false);
            Remember(response.KeyId);
            var plaintext = Take(response.Plaintext);
            return new GeneratedKey(plaintext, new WrappedKey(response.KeyId, response.CiphertextBlob.ToArray(), response.KeyMaterialId));
        });

    public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => Guard("Encrypt", async () =>
        {
            var copy = key.ToArray();
            try
            {
                var response = await _client.EncryptAsync(
                    new EncryptRequest { KeyId = _options.KeyId, Plaintext = new MemoryStream(copy), EncryptionContext = Copy(encryptionContext) }, cancellationToken).ConfigureAwait(false);
                Remember(response.KeyId);
                return new WrappedKey(response.KeyId, response.CiphertextBlob.ToArray());
            }
            finally
            {
                CryptographicOperations.ZeroMemory(copy);
            }
        });

    public Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => Guard("Decrypt", async () =>
        {
            var keyId = await FindAllowedAsync(wrapped.RootKeyId, cancellationToken).ConfigureAwait(false);
            var response = await _client.DecryptAsync(
                new DecryptRequest { KeyId = keyId, CiphertextBlob = new MemoryStream(wrapped.Ciphertext, writable: false), EncryptionContext = Copy(encryptionContext) },
                cancellationToken).ConfigureAwait(false);
            return Take(response.Plaintext);
        });

    public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        => Guard("ReEncrypt", async () =>
        {
            var keyId = await FindAllowedAsync(wrapped.RootKeyId, cancellationToken).ConfigureAwait(false);
            var response = await _client.ReEncryptAsync(
                new ReEncryptRequest
                {
                    SourceKeyId = keyId,
                    SourceEncryptionContext = Copy(encryptionContext),
                    DestinationKeyId = _options.KeyId,
                    DestinationEncryptionContext = Copy(encryptionContext),
                    CiphertextBlob = new MemoryStream(wrapped.Ciphertext, writable: false),
                },
                cancellationToken).ConfigureAwait(false);
            Remember(response.KeyId);
            return new WrappedKey(response.KeyId, response.CiphertextBlob.ToArray(), response.DestinationKeyMaterialId);
        });

    public async Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken)
    {
        var metadata = await DescribeAsync(cancellationToken).ConfigureAwait(false);
        return new RootKeyDescription(
            metadata.Arn,
            metadata.KeyState?.Value ?? "Unknown",
            metadata.KeyState == Amazon.KeyManagementService.KeyState.Enabled,
            metadata.DeletionDate is { } date ? new DateTimeOffset(DateTime.SpecifyKind(date.ToUniversalTime(), DateTimeKind.Utc)) : null,
            metadata.CurrentKeyMaterialId);
    }

    public void Dispose()
    {
        if (_owned)
        {
            _client.Dispose();
        }
    }

    /// <summary>The SDK's settings for these options. No I/O but the SDK's look at the environment and its profile.</summary>
    internal static AmazonKeyManagementServiceConfig Configure(AwsKmsOptions options)
    {
        var config = new AmazonKeyManagementServiceConfig { Timeout = options.Timeout, MaxErrorRetry = options.MaxRetries };
        if (options.Region is { } region)
        {
            config.RegionEndpoint = RegionEndpoint.GetBySystemName(region);
        }

        if (options.ServiceUrl is { } url)
        {
            // An address says nothing of the Region that the request is signed for.
            config.ServiceURL = url;
            config.AuthenticationRegion = options.Region ?? KmsKeyArn.RegionOf(options.KeyId) ?? FallbackRegionFactory.GetRegionEndpoint(includeInstanceMetadata: false)?.SystemName ?? "us-east-1";
        }

        return config;
    }

    private static AmazonKeyManagementServiceClient Create(AwsKmsOptions options)
    {
        try
        {
            return new AmazonKeyManagementServiceClient(Configure(options));
        }
        catch (AmazonClientException missing)
        {
            throw new EnvelopeConfigurationException($"The AWS SDK cannot be set up: {missing.Message.TrimEnd('.')}. Set the region (AWS_REGION or AwsKmsOptions.Region) and credentials.", missing);
        }
    }

    /// <summary>The configured or listed name to unwrap by, which may be another replica's than the one that wrapped; refuses what configuration does not allow.</summary>
    private async Task<string> FindAllowedAsync(string rootKeyId, CancellationToken cancellationToken)
    {
        if (FindAllowed(rootKeyId) is { } known)
        {
            return known;
        }

        if (!KmsKeyArn.IsKey(_options.KeyId))
        {
            // An alias may have been pointed at another key since: ask once more before refusing. A key's own ARN cannot.
            await DescribeAsync(cancellationToken).ConfigureAwait(false);
        }

        return FindAllowed(rootKeyId) ?? throw new KeyRefusedException(
            $"The key ring names root key '{rootKeyId}', but the configured one is '{_options.KeyId}' ('{_keyArn}'). It is not asked to unwrap. If it is a former root key of yours, list it in AwsKmsOptions.FormerKeyArns; else this ring belongs to another KMS key.");
    }

    /// <summary>The replica that is here before the one that wrapped: that one is listed so that it may be named in the ring, and its Region may be out of reach.</summary>
    private string? FindAllowed(string rootKeyId)
    {
        if (_keyArn is { } arn && KmsKeyArn.IsSameKey(arn, rootKeyId))
        {
            return arn;
        }

        if (KmsKeyArn.IsSameKey(_options.KeyId, rootKeyId))
        {
            return _options.KeyId;
        }

        var region = KmsKeyArn.RegionOf(_keyArn ?? _options.KeyId) ?? _client.Config.RegionEndpoint?.SystemName ?? _client.Config.AuthenticationRegion;
        var same = _allowed.Where(allowed => KmsKeyArn.IsSameKey(allowed, rootKeyId)).ToList();
        return same.Find(allowed => KmsKeyArn.RegionOf(allowed) == region) ?? same.Find(allowed => allowed == rootKeyId) ?? same.FirstOrDefault();
    }

    /// <summary>Told as DescribeKey where it fails, whatever it is asked for: the permission that lacks is that one.</summary>
    private Task<KeyMetadata> DescribeAsync(CancellationToken cancellationToken)
        => Guard("DescribeKey", async () =>
        {
            var response = await _client.DescribeKeyAsync(new DescribeKeyRequest { KeyId = _options.KeyId }, cancellationToken).ConfigureAwait(false);
            Remember(response.KeyMetadata.Arn);
            return response.KeyMetadata;
        });

    private void Remember(string arn) => _keyArn = arn;

    private static Dictionary<string, string> Copy(IReadOnlyDictionary<string, string> context) => new(context, StringComparer.Ordinal);

    /// <summary>Copies the key out of the SDK's buffer and zeroes that; the SDK's own earlier copies are out of reach.</summary>
    private static byte[] Take(MemoryStream stream)
    {
        var bytes = stream.ToArray();
        if (stream.TryGetBuffer(out var buffer))
        {
            CryptographicOperations.ZeroMemory(buffer);
        }

        return bytes;
    }

    private async Task<T> Guard<T>(string operation, Func<Task<T>> call)
    {
        try
        {
            return await call().ConfigureAwait(false);
        }
        catch (EnvelopeEncryptionException)
        {
            throw;
        }
        catch (OperationCanceledException cancelled) when (cancelled.InnerException is not TimeoutException)
        {
            throw;
        }
        catch (Exception error)
        {
            throw Translate(operation, error);
        }
    }

    private EnvelopeEncryptionException Translate(string operation, Exception error) => error switch
    {
        // First: what hands the credentials out answers with the same codes, and says nothing of the key.
        _ when FindCredentialTrouble(error) is { } why => NoCredentials(operation, why),
        InvalidCiphertextException or IncorrectKeyException => new KeyRingTamperedException(
            $"AWS KMS does not accept a wrapped key of the ring ({operation}): it was made under another key or with another encryption context, or was changed. Check that this ring belongs to '{_options.KeyId}'."),
        NotFoundException => Refused(operation, $"the key or alias does not exist in this account and region", error),
        DisabledException => Refused(operation, "the key is disabled; enable it again", error),
        KMSInvalidStateException => Refused(operation, "the key's state forbids it (pending deletion or import?); cancel the deletion at once if it is not intended", error),
        Amazon.KeyManagementService.Model.KeyUnavailableException => Unavailable(operation, error),
        InvalidKeyUsageException or InvalidGrantTokenException => Refused(operation, "the key is no symmetric encryption key, or a grant is not valid", error),
        AmazonServiceException { ErrorCode: "AccessDeniedException" or "AccessDenied" or "UnrecognizedClientException" or "InvalidSignatureException" } =>
            Refused(operation, $"access is denied; the caller needs kms:{operation} on the key, with valid credentials", error),
        // What hands out a role's credentials may be out of reach, or hand out former ones: that says nothing of the key.
        AmazonServiceException { ErrorCode: "ExpiredTokenException" or "ExpiredToken" } => NoCredentials(operation, "those that the SDK has are expired"),
        AmazonServiceException { ErrorCode: "ValidationException" or "InvalidArnException" } => Refused(operation, "the key's name is not valid, or belongs to another region", error),
        AmazonServiceException { StatusCode: >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout } => Unavailable(operation, error),
        AmazonServiceException { ErrorCode: "ThrottlingException" or "LimitExceededException" or "DependencyTimeoutException" or "KMSInternalException" or "RequestLimitExceeded" } => Unavailable(operation, error),
        AmazonServiceException { StatusCode: >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError } service => Refused(operation, $"it answered {service.ErrorCode}", error),
        _ => Unavailable(operation, error),
    };

    /// <summary>What failed before the key service was called: the SDK asks for a role's credentials with the first call, and anew when they end. Type and code alone: messages name roles, accounts and files.</summary>
    private static string? FindCredentialTrouble(Exception error)
    {
        if (error is AmazonServiceException { ErrorCode.Length: > 0 } own && !IsOfTokenService(own))
        {
            return null;
        }

        var isOfCredentials = false;
        for (var cause = error; cause is not null; cause = cause.InnerException)
        {
            // What has no code was answered by nobody: the SDK's own trouble with the machine's agent.
            if (cause is AmazonServiceException { ErrorCode: { Length: > 0 } code })
            {
                return $"what hands them out answered {code}";
            }

            isOfCredentials |= cause is AmazonClientException or AmazonServiceException or InvalidOperationException or IOException
                && CredentialWords.Any(word => cause.Message.Contains(word, StringComparison.OrdinalIgnoreCase));
        }

        return isOfCredentials ? $"the SDK gets none ({error.GetType().Name})" : null;
    }

    /// <summary>By name: the SDK's packages for roles and single sign-on are the application's choice.</summary>
    private static bool IsOfTokenService(AmazonServiceException error)
        => error.GetType().FullName is { } name && (name.StartsWith("Amazon.SecurityToken.", StringComparison.Ordinal) || name.StartsWith("Amazon.SSO", StringComparison.Ordinal));

    private static EfEnvelope.KeyUnavailableException NoCredentials(string operation, string why)
        => new($"AWS KMS cannot be called ({operation}) for want of credentials: {why}. Set them the SDK's ordinary way (environment, profile, role); where an agent of the machine hands them out, see that it is reached. Held keys serve on up to their stated age; the call is retried.");

    private KeyRefusedException Refused(string operation, string why, Exception error)
        => new($"AWS KMS refuses {operation} with '{_options.KeyId}' at {Endpoint()}: {why}. ({(error as AmazonServiceException)?.ErrorCode ?? error.GetType().Name})");

    /// <summary>A transport error says which host and why (name, port, certificate) and holds nothing of the request; what the service itself said is told by its code alone.</summary>
    private EfEnvelope.KeyUnavailableException Unavailable(string operation, Exception error)
    {
        var why = (error as AmazonServiceException)?.ErrorCode is { Length: > 0 } code ? code : error.GetType().Name;
        var transport = Transport(error);
        return new(
            $"AWS KMS cannot be reached ({operation} with '{_options.KeyId}' at {Endpoint()}, {why}{(transport is null ? "" : $": {transport.Message.TrimEnd('.')}")}). Held keys serve on up to their stated age; the call is retried.",
            transport);
    }

    private static Exception? Transport(Exception? error)
    {
        while (error is not (null or HttpRequestException or SocketException or TimeoutException))
        {
            error = error.InnerException;
        }

        return error;
    }

    private string Endpoint() => _client.Config switch
    {
        { ServiceURL: { Length: > 0 } url, AuthenticationRegion: { Length: > 0 } region } => $"{url}, signed for {region}",
        { ServiceURL: { Length: > 0 } url } => url,
        { RegionEndpoint: { } region } => $"region {region.SystemName}",
        _ => "the SDK's endpoint",
    };
}
