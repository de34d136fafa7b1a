using System.Globalization;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>How often what is random or counted is repeated: EFENVELOPE_SOAK times as often as in the suite (eng/soak.sh).</summary>
internal static class Soak
{
    public static int Factor { get; } = Environment.GetEnvironmentVariable("EFENVELOPE_SOAK") is { Length: > 0 } given
        ? int.Parse(given, NumberStyles.None, CultureInfo.InvariantCulture)
        : 1;
}
