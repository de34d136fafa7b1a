using System.Security.Cryptography;
using System.Text;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>The encryption context of a ring key (FORMAT.md, Wrapped by the KMS): recomputed for every call, never read back from the row; opaque to whoever reads the service's log.</summary>
internal static class KmsContext
{
    public static IReadOnlyDictionary<string, string> Create(RingIdentity ring, string scope, KeyPurpose purpose, IReadOnlyDictionary<string, string> fixedPairs)
    {
        var context = new Dictionary<string, string>(fixedPairs, StringComparer.Ordinal)
        {
            ["efenvelope:v"] = "1",
            ["efenvelope:purpose"] = PurposeName(purpose),
            ["efenvelope:ring"] = ring.Id.ToString("D"),
            ["efenvelope:scope"] = ScopeHash(ring.Salt, scope),
        };
        return context;
    }

    public static string ScopeHash(byte[] salt, string scope)
    {
        byte[] input = [.. "EfEnvelope/v1/kms-scope"u8, 0, .. salt, .. Encoding.UTF8.GetBytes(scope)];
        return Convert.ToHexStringLower(SHA256.HashData(input));
    }

    public static string PurposeName(KeyPurpose purpose) => purpose switch
    {
        KeyPurpose.Field => "field",
        KeyPurpose.Kek => "kek",
        KeyPurpose.Index => "index",
        _ => "mac",
    };
}
