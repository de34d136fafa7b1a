using System.Text.Json.Nodes;
using EfEnvelope.Tests.Cryptography;

namespace EfEnvelope.Tests.Keys;

/// <summary>The same rounds in every run of the suite; others in each run of eng/soak.sh, which a failure's seed (EFENVELOPE_FUZZ_SEED) repeats.</summary>
internal static class FuzzRandom
{
    public static Random Create(out int seed)
    {
        seed = Environment.GetEnvironmentVariable("EFENVELOPE_FUZZ_SEED") is { Length: > 0 } given ? int.Parse(given, System.Globalization.CultureInfo.InvariantCulture)
            : Soak.Factor == 1 ? 20_260_101 : Environment.TickCount;
        return new Random(seed);
    }

    public static byte[] Damage(Random random, byte[] bytes)
    {
        var at = random.Next(bytes.Length + 1);
        var some = new byte[random.Next(1, 12)];
        random.NextBytes(some);
        return random.Next(5) switch
        {
            0 => bytes[..at],
            1 => [.. bytes[..at], .. some, .. bytes[at..]],
            2 => [.. bytes[..at], .. some, .. bytes.Skip(at + some.Length)],
            3 => [.. bytes[..at], .. bytes.Skip(at + random.Next(1, 60))],
            _ => [.. bytes.Select((b, i) => i == at ? (byte)(b ^ (1 << random.Next(8))) : b)],
        };
    }
}

/// <summary>Changes of a JSON document that keep it JSON.</summary>
internal static class JsonDamage
{
    private static readonly string[] Values =
    [
        "null", "true", "0", "-1", "1e400", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483648", "1.5", "\"\"", "\"text\"", "\"@lone@\"", "\"AAAA\"", "\"****\"", "[]", "{}", "[[]]",
        "\"7c9e6679-7425-40de-944b-e07fc1f90ae7\"", "\"0001-01-01T00:00:00+14:00\"", "\"9999-12-31T23:59:59-14:00\"", "3155378975999999999", "3155378976000000000",
    ];

    /// <summary>Changes one of several documents, each on a line of its own.</summary>
    public static string ApplyToLine(Random random, string text)
    {
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var at = random.Next(lines.Length);
        lines[at] = Apply(random, lines[at]);
        return string.Join('\n', lines);
    }

    public static string Apply(Random random, string text)
    {
        var root = JsonNode.Parse(text)!;
        for (var changes = random.Next(1, 3); changes > 0; changes--)
        {
            var places = Places(root).ToList();
            var (parent, index) = places[random.Next(places.Count)];
            var value = random.Next(6) == 0 ? JsonValue.Create(new string((char)random.Next(1, 0xD7FF), random.Next(3_000))) : JsonNode.Parse(Values[random.Next(Values.Length)]);
            switch (parent)
            {
                case JsonObject o when random.Next(4) == 0:
                    o.Remove((string)index);
                    break;
                case JsonObject o when random.Next(8) == 0:
                    o["more"] = value;
                    break;
                case JsonObject o:
                    o[(string)index] = value;
                    break;
                case JsonArray a when random.Next(2) == 0:
                    a.RemoveAt((int)index);
                    break;
                case JsonArray a:
                    a[(int)index] = value;
                    break;
            }
        }

        return root.ToJsonString().Replace("@lone@", "\\ud800", StringComparison.Ordinal);
    }

    private static IEnumerable<(JsonNode Parent, object Index)> Places(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (name, child) in o.ToList())
                {
                    yield return (o, name);
                    foreach (var place in Places(child))
                    {
                        yield return place;
                    }
                }

                break;
            case JsonArray a:
                for (var i = 0; i < a.Count; i++)
                {
                    yield return (a, i);
                    foreach (var place in Places(a[i]))
                    {
                        yield return place;
                    }
                }

                break;
        }
    }
}
