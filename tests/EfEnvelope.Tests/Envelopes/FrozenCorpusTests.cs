using System.Text.Json;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Tests.Envelopes;

/// <summary>Envelopes that release 0.1 wrote, one per CLR type: never regenerated, opened by every later version.</summary>
public sealed class FrozenCorpusTests
{
    [Fact]
    public void Every_envelope_of_release_0_1_still_opens_to_its_value()
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Vectors", "corpus-0.1.json")));
        using var key = DataKey.Import(KeyPurpose.Field, document.RootElement.Hex("key"));
        var binding = EnvelopeBinding.Create("Customer.Corpus", "tenant:42");
        var open = typeof(FrozenCorpusTests).GetMethod(nameof(Reopen), System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static)!;
        var count = 0;
        foreach (var entry in document.RootElement.GetProperty("entries").EnumerateArray())
        {
            var bytes = (byte[])open.MakeGenericMethod(Type.GetType(entry.Text("type"), throwOnError: true)!).Invoke(null, [key, binding, entry.Hex("envelope")])!;
            Assert.Equal(entry.Text("bytes"), Convert.ToHexStringLower(bytes));
            count++;
        }

        Assert.Equal(21, count);
    }

    private static byte[] Reopen<T>(DataKey key, EnvelopeBinding binding, byte[] envelope) => ValueCodec.Encode(EnvelopeCodec.Open<T>(key, binding, envelope));
}
