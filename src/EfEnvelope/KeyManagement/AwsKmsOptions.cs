namespace EfEnvelope.KeyManagement;

/// <summary>How to reach AWS KMS. A value: equal options share one runtime per process. Credentials and everything not set here come from the SDK's ordinary sources.</summary>
public sealed record AwsKmsOptions
{
    /// <summary>The root key that wraps: alias (<c>alias/banking</c>), key id or ARN. An alias is resolved to the key's ARN when a key is wrapped.</summary>
    public required string KeyId { get; init; }

    /// <summary>Full ARNs of former root keys that may still unwrap, separated by commas. Default: none.</summary>
    public string FormerKeyArns { get; init; } = "";

    /// <summary>Region, such as <c>eu-central-1</c>. Default: the SDK's.</summary>
    public string? Region { get; init; }

    /// <summary>Endpoint. Default: the SDK's (<c>AWS_ENDPOINT_URL_KMS</c> counts).</summary>
    public string? ServiceUrl { get; init; }

    /// <summary>Time-out of one attempt; 100 ms to 5 minutes, default 5 s.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Retries after the first attempt, with the SDK's backoff; 0-10, default 3.</summary>
    public int MaxRetries { get; init; } = 3;
}
