namespace EfEnvelope.KeyManagement;

/// <summary>How to reach AWS KMS. A value: equal options share one runtime per process. Credentials and everything not set here come from the SDK's ordinary sources.</summary>
public sealed record AwsKmsOptions
{
    /// <summary>
    /// The root key that wraps: alias (<c>alias/banking</c>), key id or ARN. An alias is resolved to the key's ARN when a key is wrapped. A multi-Region key (<c>mrk-...</c>) also unwraps what its replicas wrapped in other Regions.
    /// </summary>
    public required string KeyId { get; init; }

    /// <summary>Full ARNs of former root keys that may still unwrap, separated by commas. Default: none. Of a multi-Region key the replica in this process's Region, which opens what any replica wrapped.</summary>
    public string FormerKeyArns { get; init; } = "";

    /// <summary>
    /// Region, such as <c>eu-central-1</c>. Default: the SDK's. With a <see cref="ServiceUrl"/> the Region that requests are signed for, by default that of <see cref="KeyId"/> where it is an ARN, then the SDK's (environment,
    /// profile), then us-east-1.
    /// </summary>
    public string? Region { get; init; }

    /// <summary>Endpoint. Default: the SDK's (<c>AWS_ENDPOINT_URL_KMS</c> counts).</summary>
    public string? ServiceUrl { get; init; }

    /// <summary>Time-out of one attempt; 100 ms to 5 minutes, default 5 s.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Retries after the first attempt, with the SDK's backoff; 0-10, default 3.</summary>
    public int MaxRetries { get; init; } = 3;

    /// <param name="prefix">What stands before the section's name where the user wrote it.</param>
    internal void Validate(string prefix)
    {
        if (string.IsNullOrWhiteSpace(KeyId))
        {
            throw new EnvelopeConfigurationException($"{prefix}AwsKms:KeyId is missing: UseAwsKms needs the root key's alias (alias/...), id or ARN.");
        }

        if (Timeout < TimeSpan.FromMilliseconds(100) || Timeout > TimeSpan.FromMinutes(5))
        {
            throw new EnvelopeConfigurationException($"{prefix}AwsKms:Timeout is {Timeout}; it must be 00:00:00.1 to 00:05:00 (hours:minutes:seconds).");
        }

        if (MaxRetries is < 0 or > 10)
        {
            throw new EnvelopeConfigurationException($"{prefix}AwsKms:MaxRetries is {MaxRetries}; it must be 0 to 10.");
        }

        if (ServiceUrl is { } url && !(Uri.TryCreate(url, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"))
        {
            throw new EnvelopeConfigurationException($"{prefix}AwsKms:ServiceUrl is no absolute http or https address.");
        }

        if (Region is { } region && KmsKeyArn.RegionOf(KeyId) is { } keyRegion && keyRegion != region)
        {
            throw new EnvelopeConfigurationException($"{prefix}AwsKms:KeyId is a key of region '{keyRegion}', but {prefix}AwsKms:Region is '{region}'. Name the key's own region, or the ARN of its replica in this one.");
        }
    }
}
