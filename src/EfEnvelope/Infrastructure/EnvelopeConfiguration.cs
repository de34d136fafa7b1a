using System.Reflection;
using EfEnvelope.KeyManagement;
using Microsoft.Extensions.Configuration;

namespace EfEnvelope.Infrastructure;

/// <summary>Binds <see cref="EnvelopeOptions"/> from a configuration section strictly: a misspelt key would leave a policy at its default in silence.</summary>
internal static class EnvelopeConfiguration
{
    private static readonly string[] KeyServices = [nameof(EnvelopeOptions.AwsKms), nameof(EnvelopeOptions.LocalKms), nameof(EnvelopeOptions.InMemoryKms)];

    /// <summary>The given options with everything that the section names.</summary>
    public static EnvelopeOptions Bind(IConfiguration configuration, EnvelopeOptions current)
    {
        var prefix = configuration is IConfigurationSection { Path: { Length: > 0 } path } ? path + ":" : "";
        if (!configuration.GetChildren().Any())
        {
            throw new EnvelopeConfigurationException(
                $"The configuration section '{prefix.TrimEnd(':')}' is empty or does not exist. Name a key service in it, such as {prefix}AwsKms:KeyId, or do not call Bind.");
        }

        RefuseUnknown(configuration, typeof(EnvelopeOptions), prefix);
        var named = KeyServices.Where(service => configuration.GetSection(service).Exists()).ToList();
        if (named.Count > 1)
        {
            throw new EnvelopeConfigurationException($"{string.Join(" and ", named.Select(n => prefix + n))} each name a key service. Keep one of them.");
        }

        // The binder changes nested objects in place: equal options of other builders must not change with them.
        var bound = named is [var service]
            ? current with
            {
                AwsKms = service == nameof(EnvelopeOptions.AwsKms) && current.AwsKms is { } aws ? aws with { } : null,
                LocalKms = service == nameof(EnvelopeOptions.LocalKms) && current.LocalKms is { } local ? local with { } : null,
                InMemoryKms = null,
            }
            : current with { };
        try
        {
            configuration.Bind(bound);
        }
        catch (InvalidOperationException error)
        {
            // The binder's message names the key and the type that it must have.
            throw new EnvelopeConfigurationException($"The configuration of EfEnvelope cannot be read: {Reason(error)}", error);
        }

        bound.Validate(prefix);
        return bound;
    }

    public static bool NamesKeyService(IConfiguration configuration) => KeyServices.Any(service => configuration.GetSection(service).Exists());

    private static void RefuseUnknown(IConfiguration configuration, Type type, string prefix)
    {
        var known = type.GetProperties(BindingFlags.Public | BindingFlags.Instance).ToDictionary(p => p.Name, p => p.PropertyType, StringComparer.OrdinalIgnoreCase);
        foreach (var child in configuration.GetChildren())
        {
            if (!known.TryGetValue(child.Key, out var childType))
            {
                throw new EnvelopeConfigurationException($"{prefix}{child.Key} is no option of EfEnvelope. There are {string.Join(", ", known.Keys.Order(StringComparer.Ordinal))}.");
            }

            if (childType == typeof(AwsKmsOptions) || childType == typeof(LocalKmsOptions))
            {
                if (child.Value is { Length: > 0 })
                {
                    throw new EnvelopeConfigurationException($"{prefix}{child.Key} is a section, not a value: set {prefix}{child.Key}:{(childType == typeof(AwsKmsOptions) ? nameof(AwsKmsOptions.KeyId) : nameof(LocalKmsOptions.Path))}.");
                }

                RefuseUnknown(child, childType, $"{prefix}{child.Key}:");
            }
            else if (child.GetChildren().Any())
            {
                throw new EnvelopeConfigurationException($"{prefix}{child.Key} is a single value, not a section.");
            }
        }
    }

    private static string Reason(Exception error) => error.InnerException is { } inner ? $"{error.Message} {inner.Message}" : error.Message;
}
