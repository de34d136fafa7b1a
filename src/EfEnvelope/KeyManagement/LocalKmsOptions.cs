namespace EfEnvelope.KeyManagement;

/// <summary>The development provider's key file. A value: equal options share one runtime per process.</summary>
public sealed record LocalKmsOptions
{
    /// <summary>Path of the key file; made with mode 0600 on first use. Whoever reads it reads every value.</summary>
    public required string Path { get; init; }

    /// <summary>Lets the provider run although the host's environment is Production. Default false.</summary>
    public bool AllowInProduction { get; init; }

    /// <summary>
    /// The host's environment. Default: <c>DOTNET_ENVIRONMENT</c>, then <c>ASPNETCORE_ENVIRONMENT</c>, then Production, as .NET hosts do.
    /// </summary>
    public string? Environment { get; init; }

    /// <param name="prefix">What stands before the section's name where the user wrote it.</param>
    internal void Validate(string prefix)
    {
        if (string.IsNullOrWhiteSpace(Path))
        {
            throw new EnvelopeConfigurationException($"{prefix}LocalKms:Path is missing: UseLocalKms needs the path of its key file.");
        }
    }
}
