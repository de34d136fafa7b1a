using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using EfEnvelope.Cryptography;
using EfEnvelope.Tests.Envelopes;
using Xunit.Abstractions;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>The project's own AES-256-GCM, HKDF-Expand and HMAC against known answers; eng/wycheproof.sh runs them on Wycheproof's.</summary>
public sealed class WycheproofTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_AES_256_GCM_answer_holds_on_every_backend() => output.WriteLine(CheckAesGcm(WycheproofFolder.Given));

    [Fact]
    public void Every_HKDF_SHA_256_answer_holds() => output.WriteLine(CheckHkdf(WycheproofFolder.Given));

    [Fact]
    public void Every_HMAC_SHA_256_answer_holds() => output.WriteLine(CheckHmac(WycheproofFolder.Given));

    [Fact]
    public void A_folder_that_is_empty_or_lacks_a_file_is_no_success()
    {
        using var folder = new TemporaryFolder();
        foreach (var check in new Func<WycheproofFolder, string>[] { CheckAesGcm, CheckHkdf, CheckHmac })
        {
            Assert.Throws<InvalidOperationException>(() => check(new WycheproofFolder(folder.Path)));
            Assert.Throws<InvalidOperationException>(() => check(new WycheproofFolder(folder.Path + "-none")));
        }

        File.WriteAllText(folder.File("aes_gcm_test.json"), """{"algorithm":"AES-GCM","numberOfTests":0,"testGroups":[]}""");
        Assert.Throws<InvalidOperationException>(() => CheckAesGcm(new WycheproofFolder(folder.Path)));
        File.WriteAllText(folder.File("aes_gcm_test.json"), """{"algorithm":"AES-GCM-SIV","numberOfTests":0,"testGroups":[]}""");
        Assert.Throws<InvalidOperationException>(() => CheckAesGcm(new WycheproofFolder(folder.Path)));
    }

    /// <summary>What would let an implementation that is wrong pass: each answer is turned round once, and the check must notice.</summary>
    [Theory]
    [InlineData("aes_gcm_test.json")]
    [InlineData("hkdf_sha256_test.json")]
    [InlineData("hmac_sha256_test.json")]
    public void An_answer_that_does_not_hold_is_noticed(string name)
    {
        using var folder = new TemporaryFolder();
        var text = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Vectors", "known-answers", name));
        var check = name switch { "aes_gcm_test.json" => CheckAesGcm, "hkdf_sha256_test.json" => (Func<WycheproofFolder, string>)CheckHkdf, _ => CheckHmac };
        var count = JsonNode.Parse(text)!["testGroups"]![0]!["tests"]!.AsArray().Count;
        for (var i = 0; i < count; i++)
        {
            var document = JsonNode.Parse(text)!;
            var test = document["testGroups"]![0]!["tests"]![i]!;
            test["result"] = test["result"]!.GetValue<string>() == "valid" ? "invalid" : "valid";
            File.WriteAllText(folder.File(name), document.ToJsonString());
            Assert.ThrowsAny<Exception>(() => check(new WycheproofFolder(folder.Path)));
        }
    }

    /// <summary>Of 256-bit keys: nonces of 12 bytes are sealed and opened; other lengths, which the format has not, must be refused.</summary>
    private static string CheckAesGcm(WycheproofFolder folder)
    {
        var (answers, refusedNonces, otherKeys) = (0, 0, 0);
        foreach (var (group, test) in folder.Read("aes_gcm_test.json", "AES-GCM"))
        {
            if (group.Int("keySize") != 256)
            {
                otherKeys++;
                continue;
            }

            var (iv, aad, message, ciphertext, tag) = (test.Hex("iv"), test.Hex("aad"), test.Hex("msg"), test.Hex("ct"), test.Hex("tag"));
            foreach (var backend in EnvelopeVectors.Backends)
            {
                var cipher = backend.CreateCipher(test.Hex("key"));
                try
                {
                    var opened = new byte[ciphertext.Length];
                    if (iv.Length != 12)
                    {
                        Assert.ThrowsAny<ArgumentException>(() => cipher.TryDecrypt(iv, ciphertext, tag, opened, aad));
                        Assert.ThrowsAny<ArgumentException>(() => cipher.Encrypt(iv, message, new byte[message.Length], new byte[16], aad));
                        refusedNonces++;
                        continue;
                    }

                    var valid = IsValid(test);
                    Assert.True(valid == cipher.TryDecrypt(iv, ciphertext, tag, opened, aad), Name(test));
                    Assert.Equal(valid ? message : new byte[ciphertext.Length], opened);
                    if (valid)
                    {
                        var (ownCiphertext, ownTag) = (new byte[message.Length], new byte[16]);
                        cipher.Encrypt(iv, message, ownCiphertext, ownTag, aad);
                        Assert.Equal(ciphertext, ownCiphertext);
                        Assert.Equal(tag, ownTag);
                    }

                    answers++;
                }
                finally
                {
                    cipher.Retire();
                }
            }
        }

        Assert.True(answers > 0, "No test has a key of 256 and a nonce of 96 bits.");
        return $"AES-256-GCM: {answers / EnvelopeVectors.Backends.Count} answers hold and {refusedNonces / EnvelopeVectors.Backends.Count} nonces of other lengths are refused, on {EnvelopeVectors.Backends.Count} backends; {otherKeys} tests have keys of other lengths.";
    }

    /// <summary>The format takes no more than one block of HKDF-Expand: longer answers are compared as far as that, and asking for more must be refused.</summary>
    private static string CheckHkdf(WycheproofFolder folder)
    {
        var tests = folder.Read("hkdf_sha256_test.json", "HKDF-SHA-256");
        var (whole, cut, refused) = (0, 0, 0);
        foreach (var (_, test) in tests)
        {
            var pseudorandomKey = HMACSHA256.HashData(test.Hex("salt"), test.Hex("ikm"));
            var info = test.Hex("info");
            var size = test.Int("size");
            if (size > 32)
            {
                Assert.Throws<ArgumentOutOfRangeException>(() => KeyDerivation.Expand(pseudorandomKey, info, [], new byte[size]));
                refused++;
            }

            if (!IsValid(test))
            {
                Assert.True(size > 255 * 32, Name(test));
                continue;
            }

            Assert.Equal(size, test.Hex("okm").Length);
            var output = new byte[Math.Min(size, 32)];
            for (var split = 0; split <= info.Length; split += Math.Max(1, info.Length))
            {
                KeyDerivation.Expand(pseudorandomKey, info.AsSpan(0, split), info.AsSpan(split), output);
                Assert.True(test.Hex("okm").AsSpan(0, output.Length).SequenceEqual(output), Name(test));
            }

            (whole, cut) = size > 32 ? (whole, cut + 1) : (whole + 1, cut);
        }

        Assert.True(whole > 0);
        return $"HKDF-SHA-256: {tests.Count} tests: {whole} answers hold, {cut} longer ones in their first block, and {refused} lengths beyond a block are refused.";
    }

    /// <summary>Whole by the library that the project calls, and the first 1 to 128 bits by the blind index.</summary>
    private static string CheckHmac(WycheproofFolder folder)
    {
        var tests = folder.Read("hmac_sha256_test.json", "HMACSHA256");
        var answers = 0;
        foreach (var (group, test) in tests)
        {
            var (key, message, tag) = (test.Hex("key"), test.Hex("msg"), test.Hex("tag"));
            Assert.Equal(group.Int("tagSize"), tag.Length * 8);
            var whole = HMACSHA256.HashData(key, message);
            var valid = whole.AsSpan(0, tag.Length).SequenceEqual(tag);
            Assert.True(IsValid(test) == valid, Name(test));
            if (tag.Length == 16)
            {
                Assert.True(IsValid(test) == BlindIndexFunction.Compute(key, message).AsSpan().SequenceEqual(tag), Name(test));
            }

            foreach (var bits in valid ? new[] { 1, 7, 8, 63, 127 } : [])
            {
                var expected = tag[..((bits + 7) / 8)];
                expected[^1] &= (byte)(0xFF00 >> (((bits - 1) % 8) + 1));
                Assert.Equal(expected, BlindIndexFunction.Compute(key, message, bits));
            }

            answers++;
        }

        return $"HMAC-SHA-256: {answers} answers hold.";
    }

    private static bool IsValid(JsonElement test) => test.Text("result") switch
    {
        "valid" => true,
        "invalid" => false,
        var other => throw new InvalidOperationException($"A result that is neither valid nor invalid: {other}."),
    };

    private static string Name(JsonElement test) => $"test {test.Int("tcId")} ({test.Text("comment")})";

    private sealed class TemporaryFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("efenvelope-answers-").FullName;

        public string File(string name) => System.IO.Path.Combine(Path, name);

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
