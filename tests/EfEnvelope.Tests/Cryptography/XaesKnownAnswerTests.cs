using System.Security.Cryptography;
using System.Text;
using EfEnvelope.Cryptography;
using EfEnvelope.Tests.Envelopes;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>https://c2sp.org/XAES-256-GCM: both published answers and the accumulated randomised test.</summary>
public sealed class XaesKnownAnswerTests
{
    [Theory]
    [InlineData(1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271")]
    [InlineData(3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d")]
    public void Published_answers_hold(int keyByte, string associatedData, string expected)
    {
        var key = new byte[32];
        Array.Fill(key, (byte)keyByte);
        foreach (var backend in EnvelopeVectors.Backends)
        {
            var sealedBytes = Seal(backend, key, "ABCDEFGHIJKLMNOPQRSTUVWX"u8, "XAES-256-GCM"u8, Encoding.UTF8.GetBytes(associatedData));
            Assert.Equal(expected, Convert.ToHexStringLower(sealedBytes));
        }
    }

    [Fact]
    public void The_accumulated_answer_over_ten_thousand_random_inputs_holds()
    {
        const int Iterations = 10_000;
        var stream = Shake128.HashData([], Iterations * (32 + 24 + 1 + 255 + 1 + 255));
        foreach (var backend in EnvelopeVectors.Backends)
        {
            var position = 0;
            using var outputs = new MemoryStream();
            for (var i = 0; i < Iterations; i++)
            {
                var key = Take(32);
                var nonce = Take(24);
                var plaintext = Take(Take(1)[0]);
                var associatedData = Take(Take(1)[0]);
                outputs.Write(Seal(backend, key, nonce, plaintext, associatedData));
            }

            Assert.Equal("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939", Convert.ToHexStringLower(Shake128.HashData(outputs.ToArray(), 32)));

            ReadOnlySpan<byte> Take(int length)
            {
                position += length;
                return stream.AsSpan(position - length, length);
            }
        }
    }

    private static byte[] Seal(AeadBackend backend, ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData)
    {
        Span<byte> subKey = stackalloc byte[32];
        KeyDerivation.XaesSubKey(key, nonce[..12], subKey);
        var cipher = backend.CreateCipher(subKey);
        var result = new byte[plaintext.Length + 16];
        cipher.Encrypt(nonce[12..], plaintext, result.AsSpan(0, plaintext.Length), result.AsSpan(plaintext.Length), associatedData);
        var opened = new byte[plaintext.Length];
        Assert.True(cipher.TryDecrypt(nonce[12..], result.AsSpan(0, plaintext.Length), result.AsSpan(plaintext.Length), opened, associatedData));
        Assert.Equal(plaintext, opened);
        cipher.Retire();
        return result;
    }
}
