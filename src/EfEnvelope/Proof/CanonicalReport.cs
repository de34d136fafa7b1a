using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace EfEnvelope.Proof;

/// <summary>
/// A completion report as canonical JSON, and its hashes. <c>digests</c> holds the SHA-256 of each other member's canonical JSON, so that a change can be named; <c>sha256</c> is that of the whole without <c>sha256</c>
/// and <c>hmac</c>; <c>hmac</c> is HMAC-SHA-256 under HKDF-Expand(mac key, "EfEnvelope/v1/mac", 32) of "EfEnvelope/v1/completion-report", a zero byte and the same bytes. All in lower-case hexadecimal.
/// </summary>
internal static class CanonicalReport
{
    private const string Digests = "digests";
    private const string Sha256 = "sha256";
    private const string Hmac = "hmac";

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        NumberHandling = JsonNumberHandling.Strict,
        PropertyNameCaseInsensitive = false,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Converters = { new JsonStringEnumConverter(namingPolicy: null, allowIntegerValues: false), new UtcTime() },
    };

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    public static string Write(CompletionReport report) => CanonicalJson.Write(JsonSerializer.SerializeToElement(report, Json));

    /// <summary>Fills in digests and hash. The HMAC is the caller's.</summary>
    public static (CompletionReport Report, byte[] Authenticated) Seal(CompletionReport report)
    {
        var digests = DigestsOf(JsonSerializer.SerializeToElement(report, Json));
        report = report with { Digests = digests };
        var content = Encoding.UTF8.GetBytes(CanonicalJson.WriteWithout(JsonSerializer.SerializeToElement(report, Json), Sha256, Hmac));
        return (report with { Sha256 = Hex(content) }, Authenticated(content));
    }

    /// <summary>Checks everything but the HMAC. Differences are named by member.</summary>
    public static ReportCheck Check(string json)
    {
        try
        {
            using var document = JsonDocument.Parse(json, Strict);
            return document.RootElement.ValueKind == JsonValueKind.Object ? Check(json, document.RootElement) : ReportCheck.Unreadable("form: no JSON object");
        }
        catch (JsonException error)
        {
            return ReportCheck.Unreadable(string.Create(CultureInfo.InvariantCulture, $"form: no JSON, or a member twice, at byte {error.BytePositionInLine} of line {error.LineNumber + 1}"));
        }
        catch (Exception error) when (error is FormatException or InvalidOperationException or ArgumentException)
        {
            return ReportCheck.Unreadable("form: a number or a text that canonical JSON does not have");
        }
    }

    private static ReportCheck Check(string json, JsonElement root)
    {
        var differs = new List<string>();
        var actual = DigestsOf(root);
        var content = Encoding.UTF8.GetBytes(CanonicalJson.WriteWithout(root, Sha256, Hmac));
        var claimedHash = Text(root, Sha256);
        var hashMatches = claimedHash == Hex(content);
        var claimed = root.TryGetProperty(Digests, out var map) && map.ValueKind == JsonValueKind.Object
            ? map.EnumerateObject().ToDictionary(m => m.Name, m => m.Value.ValueKind == JsonValueKind.String ? m.Value.GetString() : null, StringComparer.Ordinal)
            : [];
        var wrong = actual.Keys.Union(claimed.Keys).Where(name => !actual.TryGetValue(name, out var digest) || !claimed.TryGetValue(name, out var other) || digest != other).Order(StringComparer.Ordinal).ToList();
        var report = Read(root, differs);
        if (wrong.Count > 0)
        {
            // Where the hash fits the content's own digests, the content is as it was and the list of digests is not.
            var isListChanged = report is not null && claimedHash == Seal(report).Report.Sha256;
            differs.AddRange(wrong.Select(name => isListChanged ? $"{Digests}.{Printable(name)}" : Printable(name)));
        }

        if (!hashMatches && differs.Count == 0)
        {
            differs.Add(Sha256);
        }

        if (json.TrimEnd('\r', '\n') != CanonicalJson.Write(root))
        {
            differs.Add("form: not canonical (white space, order, escapes or numbers were changed)");
        }

        if (report is not null && report.Format != CompletionReport.CurrentFormat && !differs.Contains("format"))
        {
            differs.Add("format");
        }

        return new ReportCheck(hashMatches, differs, report, Authenticated(content), Text(root, Hmac));
    }

    private static CompletionReport? Read(JsonElement root, List<string> differs)
    {
        try
        {
            return root.Deserialize<CompletionReport>(Json);
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            differs.Add($"form: {Printable((error as JsonException)?.Path ?? "$")} is unknown, missing or of another kind");
            return null;
        }
    }

    private static Dictionary<string, string> DigestsOf(JsonElement root)
    {
        var digests = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var member in root.EnumerateObject())
        {
            if (member.Name is not (Digests or Sha256 or Hmac))
            {
                digests[member.Name] = Hex(Encoding.UTF8.GetBytes(CanonicalJson.Write(member.Value)));
            }
        }

        return digests;
    }

    private static string? Text(JsonElement root, string name) => root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static string Hex(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

    private static byte[] Authenticated(byte[] content) => [.. "EfEnvelope/v1/completion-report\0"u8, .. content];

    /// <summary>A name out of a file that may be anybody's: short, and nothing that steers a terminal.</summary>
    private static string Printable(string name) => string.Concat(name.Take(60).Select(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '$' or '[' or ']' or '_' ? c : '?'));

    /// <summary>Always UTC, always seven digits: <c>2026-11-24T16:00:00.0000000Z</c>.</summary>
    private sealed class UtcTime : JsonConverter<DateTimeOffset>
    {
        private const string Pattern = "yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'";

        public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
            => DateTimeOffset.TryParseExact(reader.GetString(), Pattern, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : throw new JsonException();

        public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options)
            => writer.WriteStringValue(value.UtcDateTime.ToString(Pattern, CultureInfo.InvariantCulture));
    }
}

/// <summary>What can be said of a report without the ring.</summary>
internal sealed record ReportCheck(bool HashMatches, List<string> Differs, CompletionReport? Report, byte[] Authenticated, string? ClaimedMac)
{
    public static ReportCheck Unreadable(string why) => new(false, [why], null, [], null);
}
