using System.Text.Json;
using EfEnvelope.Cryptography;

namespace EfEnvelope.Tests.Envelopes;

/// <summary>The known answers of a separate implementation; EFENVELOPE_VECTORS names another file.</summary>
internal static class EnvelopeVectors
{
    public static JsonElement Root { get; } = Load(Environment.GetEnvironmentVariable("EFENVELOPE_VECTORS"));

    /// <summary>Both where the machine has libsodium's hardware AES.</summary>
    public static IReadOnlyList<AeadBackend> Backends { get; } = CipherBackends.IsLibsodiumAvailable
        ? [CipherBackends.Bcl, CipherBackends.Select(CipherBackend.Libsodium, false)]
        : [CipherBackends.Bcl];

    /// <summary>The entries of a part of the file: at least one, or a test that goes through them would hold nothing.</summary>
    public static IReadOnlyList<JsonElement> Entries(string part)
    {
        var entries = Root.GetProperty(part).EnumerateArray().ToList();
        Assert.NotEmpty(entries);
        return entries;
    }

    public static byte[] Hex(this JsonElement element, string name) => Convert.FromHexString(element.GetProperty(name).GetString()!);

    public static string Text(this JsonElement element, string name) => element.GetProperty(name).GetString()!;

    public static int Int(this JsonElement element, string name) => element.GetProperty(name).GetInt32();

    /// <summary>The file that is given, else the project's own.</summary>
    internal static JsonElement Load(string? given)
    {
        var path = given is { Length: > 0 } ? given : Path.Combine(AppContext.BaseDirectory, "Vectors", "envelope-v1.json");
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        return document.RootElement.Clone();
    }
}
