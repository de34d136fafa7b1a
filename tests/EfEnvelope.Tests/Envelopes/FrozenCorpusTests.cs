using System.Text.Json;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Tests.Architecture;

namespace EfEnvelope.Tests.Envelopes;

/// <summary>Envelopes that a release wrote, one per CLR type (corpus-*.json) and one per form (forms-*.json): never regenerated, opened by every later version. A release adds its own files.</summary>
public sealed class FrozenCorpusTests
{
    /// <summary>The words of docs/format.md that are no names of the framework.</summary>
    private static readonly Dictionary<string, Type> s_keywords = new()
    {
        ["string"] = typeof(string), ["byte[]"] = typeof(byte[]), ["sbyte"] = typeof(sbyte), ["short"] = typeof(short), ["int"] = typeof(int), ["long"] = typeof(long), ["byte"] = typeof(byte),
        ["ushort"] = typeof(ushort), ["uint"] = typeof(uint), ["ulong"] = typeof(ulong), ["char"] = typeof(char), ["bool"] = typeof(bool), ["double"] = typeof(double), ["float"] = typeof(float),
        ["decimal"] = typeof(decimal),
    };

    public static TheoryData<string> Releases => ["0.1"];

    [Theory]
    [MemberData(nameof(Releases))]
    public void Every_envelope_of_a_release_still_opens_to_its_value(string release)
    {
        var corpus = Read($"corpus-{release}.json");
        using var key = DataKey.Import(KeyPurpose.Field, corpus.Hex("key"));
        var binding = EnvelopeBinding.Create("Customer.Corpus", "tenant:42");
        var open = typeof(FrozenCorpusTests).GetMethod(nameof(Reopen), System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static)!;
        var types = new List<Type>();
        foreach (var entry in corpus.GetProperty("entries").EnumerateArray())
        {
            var type = Type.GetType(entry.Text("type"), throwOnError: true)!;
            var bytes = (byte[])open.MakeGenericMethod(type).Invoke(null, [key, binding, entry.Hex("envelope")])!;
            Assert.Equal(entry.Text("bytes"), Convert.ToHexStringLower(bytes));
            types.Add(type);
        }

        Assert.Equal(SupportedTypes().OrderBy(t => t.FullName), types.OrderBy(t => t.FullName));
    }

    [Theory]
    [MemberData(nameof(Releases))]
    public void Every_form_of_a_release_still_opens_to_its_bytes(string release)
    {
        var forms = Read($"forms-{release}.json");
        using var key = DataKey.Import(KeyPurpose.Field, forms.Hex("key"));
        var encodings = new HashSet<ValueEncoding>();
        var flags = new HashSet<int>();
        foreach (var entry in forms.GetProperty("entries").EnumerateArray())
        {
            var encoding = (ValueEncoding)entry.Int("encoding");
            var rowId = entry.Text("rowId");
            var binding = EnvelopeBinding.Create(entry.Text("columnId"), entry.Text("scope"), rowId.Length == 0 ? null : rowId);
            var envelope = TextArmor.Decode(entry.Text("armor"));
            Assert.Equal(entry.Text("plaintext"), Convert.ToHexStringLower(EnvelopeCodec.OpenBytes(key, binding, encoding, envelope)));
            encodings.Add(encoding);
            flags.Add(envelope[2] >> 6);
        }

        Assert.Equal(Enum.GetValues<ValueEncoding>().Except([ValueEncoding.None, ValueEncoding.WrappedKey]).Order(), encodings.Order());
        Assert.Equal([0, 1, 2, 3], flags.Order());

        using var kek = DataKey.Import(KeyPurpose.Kek, forms.Hex("key"));
        var wrapped = forms.GetProperty("wrapped");
        using var unwrapped = EnvelopeCodec.UnwrapKey(kek, wrapped.Hex("envelope"), KeyPurpose.Field, Guid.Parse(wrapped.Text("keyId")), wrapped.Text("scope"));
        var material = new byte[32];
        unwrapped.CopyMaterialTo(material);
        Assert.Equal(wrapped.Text("plaintext"), Convert.ToHexStringLower(material));
    }

    /// <summary>What the code takes, what the page promises: the same types.</summary>
    [Fact]
    public void The_types_of_the_format_page_are_those_that_the_code_encodes_each_with_its_number()
    {
        var lines = File.ReadAllLines(Path.Combine(RepositoryFolder.Path, "docs", "format.md")).SkipWhile(l => l != "## Value encodings").Skip(1).TakeWhile(l => !l.StartsWith("## ", StringComparison.Ordinal));
        var documented = lines.Select(l => l.Split('|', StringSplitOptions.TrimEntries)).Where(c => c.Length > 2 && int.TryParse(c[1], out var id) && id < 13)
            .SelectMany(c => c[2].Split(", ").Select(name => ((ValueEncoding)int.Parse(c[1]), s_keywords.GetValueOrDefault(name) ?? typeof(object).Assembly.GetType("System." + name, throwOnError: true)!)));
        Assert.Equal(
            SupportedTypes().Select(t => (ValueCodec.EncodingOf(t), t.FullName)).Order(),
            documented.Select(d => (d.Item1, d.Item2.FullName)).Order());
    }

    /// <summary>Every type of the framework's core for which the code has an encoding.</summary>
    private static IEnumerable<Type> SupportedTypes()
        => typeof(object).Assembly.GetExportedTypes().Where(t => !t.IsEnum && !t.ContainsGenericParameters && ValueCodec.IsSupported(t)).Append(typeof(byte[]));

    private static JsonElement Read(string name)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Vectors", name)));
        return document.RootElement.Clone();
    }

    private static byte[] Reopen<T>(DataKey key, EnvelopeBinding binding, byte[] envelope) => ValueCodec.Encode(EnvelopeCodec.Open<T>(key, binding, envelope));
}
