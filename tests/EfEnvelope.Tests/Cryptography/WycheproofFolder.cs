using System.Text.Json;
using EfEnvelope.Tests.Envelopes;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>
/// A folder of known answers in the form of C2SP/wycheproof's testvectors_v1. EFENVELOPE_WYCHEPROOF names one (eng/wycheproof.sh); without it, the published answers of the algorithms'
/// own specifications stand in, in the same form.
/// </summary>
internal sealed class WycheproofFolder(string path)
{
    public static WycheproofFolder Given { get; } = new(Environment.GetEnvironmentVariable("EFENVELOPE_WYCHEPROOF") is { Length: > 0 } given
        ? given
        : Path.Combine(AppContext.BaseDirectory, "Vectors", "known-answers"));

    /// <summary>Every test of a file with its group; a missing file, one of another algorithm and one that does not hold what it announces fail.</summary>
    public IReadOnlyList<(JsonElement Group, JsonElement Test)> Read(string name, string algorithm)
    {
        var file = Path.Combine(path, name);
        if (!File.Exists(file))
        {
            throw new InvalidOperationException($"'{file}' is missing: give the folder testvectors_v1 of C2SP/wycheproof.");
        }

        using var document = JsonDocument.Parse(File.ReadAllBytes(file));
        var root = document.RootElement.Clone();
        if (root.Text("algorithm") != algorithm)
        {
            throw new InvalidOperationException($"'{file}' holds {root.Text("algorithm")}, not {algorithm}.");
        }

        var tests = root.GetProperty("testGroups").EnumerateArray().SelectMany(g => g.GetProperty("tests").EnumerateArray().Select(t => (g, t))).ToList();
        return tests.Count > 0 && tests.Count == root.Int("numberOfTests")
            ? tests
            : throw new InvalidOperationException($"'{file}' holds {tests.Count} tests and announces {root.Int("numberOfTests")}.");
    }
}
