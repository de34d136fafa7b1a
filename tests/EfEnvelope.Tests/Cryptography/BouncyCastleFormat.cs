using System.Buffers.Binary;
using System.Text;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Digests;
using Org.BouncyCastle.Crypto.Engines;
using Org.BouncyCastle.Crypto.Generators;
using Org.BouncyCastle.Crypto.Macs;
using Org.BouncyCastle.Crypto.Modes;
using Org.BouncyCastle.Crypto.Parameters;

namespace EfEnvelope.Tests.Cryptography;

/// <summary>
/// docs/format.md a second time, on another library and written from the page alone: HKDF-Expand by BouncyCastle's generator, XAES-256-GCM's sub-key as two CMACs (its definition by NIST SP 800-108),
/// GCM by BouncyCastle. Nothing of the product is called.
/// </summary>
internal static class BouncyCastleFormat
{
    public static byte[] HkdfExpand(byte[] key, byte[] info, int length)
    {
        var generator = new HkdfBytesGenerator(new Sha256Digest());
        generator.Init(HkdfParameters.SkipExtractParameters(key, info));
        var output = new byte[length];
        generator.GenerateBytes(output, 0, length);
        return output;
    }

    public static byte[] Hmac(byte[] key, byte[] message)
    {
        var mac = new HMac(new Sha256Digest());
        mac.Init(new KeyParameter(key));
        return Finish(mac, message);
    }

    public static byte[] KeyId(byte[] material, string purpose) => HkdfExpand(material, Encoding.UTF8.GetBytes("EfEnvelope/v1/key-id\0" + purpose), 16);

    public static byte[] GcmSeal(byte[] key, byte[] nonce, byte[] plaintext, byte[] associatedData) => Gcm(true, key, nonce, plaintext, associatedData);

    /// <exception cref="InvalidCipherTextException">The tag does not verify.</exception>
    public static byte[] GcmOpen(byte[] key, byte[] nonce, byte[] body, byte[] associatedData) => Gcm(false, key, nonce, body, associatedData);

    public static byte[] XaesSubKey(byte[] key, byte[] prefix) => [.. Cmac(key, [0, 1, (byte)'X', 0, .. prefix]), .. Cmac(key, [0, 2, (byte)'X', 0, .. prefix])];

    public static byte[] Seal(byte[] material, string purpose, byte encodingAndFlags, byte[] sessionAndNonce, byte[] body, string columnId, string scope, string rowId)
    {
        byte[] header = [0xC1, 0x01, encodingAndFlags, .. KeyId(material, purpose)];
        return [.. header, .. sessionAndNonce, .. Xaes(true, material, purpose, sessionAndNonce, body, AssociatedData(header, columnId, scope, rowId))];
    }

    public static byte[] Open(byte[] material, string purpose, byte[] envelope, string columnId, string scope, string rowId)
        => Xaes(false, material, purpose, envelope[19..39], envelope[39..], AssociatedData(envelope[..19], columnId, scope, rowId));

    private static byte[] Xaes(bool seal, byte[] material, string purpose, byte[] sessionAndNonce, byte[] body, byte[] associatedData)
    {
        var key = HkdfExpand(material, Encoding.UTF8.GetBytes("EfEnvelope/v1/" + purpose), 32);
        byte[] nonce = [0x45, 0x66, 0x45, 0x31, .. sessionAndNonce];
        return Gcm(seal, XaesSubKey(key, nonce[..12]), nonce[12..], body, associatedData);
    }

    private static byte[] AssociatedData(byte[] header, string columnId, string scope, string rowId)
        => [.. "EfEnvelope/v1"u8, .. header, .. Prefixed(columnId), .. Prefixed(scope), .. Prefixed(rowId)];

    private static byte[] Prefixed(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var result = new byte[2 + bytes.Length];
        BinaryPrimitives.WriteUInt16BigEndian(result, (ushort)bytes.Length);
        bytes.CopyTo(result, 2);
        return result;
    }

    private static byte[] Gcm(bool seal, byte[] key, byte[] nonce, byte[] input, byte[] associatedData)
    {
        var cipher = new GcmBlockCipher(new AesEngine());
        cipher.Init(seal, new AeadParameters(new KeyParameter(key), 128, nonce, associatedData));
        var output = new byte[cipher.GetOutputSize(input.Length)];
        var written = cipher.ProcessBytes(input, 0, input.Length, output, 0);
        return output[..(written + cipher.DoFinal(output, written))];
    }

    private static byte[] Cmac(byte[] key, byte[] message)
    {
        var mac = new CMac(new AesEngine());
        mac.Init(new KeyParameter(key));
        return Finish(mac, message);
    }

    private static byte[] Finish(IMac mac, byte[] message)
    {
        mac.BlockUpdate(message, 0, message.Length);
        var output = new byte[mac.GetMacSize()];
        mac.DoFinal(output, 0);
        return output;
    }
}
