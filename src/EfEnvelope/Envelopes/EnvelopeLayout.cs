namespace EfEnvelope.Envelopes;

/// <summary>
/// The envelope's header (FORMAT, Envelope): marker 0, suite 1, encoding and flags 2, key id 3-18, session 19-26, nonce 27-38, ciphertext
/// from 39, tag in the last 16. All offsets of the project stand here.
/// </summary>
internal static class EnvelopeLayout
{
    public const byte Marker = 0xC1;
    public const byte SuiteXaes256Gcm = 0x01;
    public const byte EncodingMask = 0x3F;
    public const byte PaddedFlag = 0x40;
    public const byte RowBoundFlag = 0x80;
    public const int KeyIdOffset = 3;
    public const int BoundHeaderBytes = 19;
    public const int SessionOffset = 19;
    public const int SessionAndNonceBytes = 20;
    public const int BodyOffset = 39;
    public const int TagBytes = 16;
    public const int Overhead = BodyOffset + TagBytes;
    public const int MaxBodyBytes = 1 << 30;

    public static ReadOnlySpan<byte> AssociatedDataPrefix => "EfEnvelope/v1"u8;

    public static Guid KeyId(ReadOnlySpan<byte> envelope) => new(envelope.Slice(KeyIdOffset, 16), bigEndian: true);

    public static void WriteHeader(Span<byte> envelope, byte encodingAndFlags, Guid keyId)
    {
        envelope[0] = Marker;
        envelope[1] = SuiteXaes256Gcm;
        envelope[2] = encodingAndFlags;
        keyId.TryWriteBytes(envelope.Slice(KeyIdOffset, 16), bigEndian: true, out _);
    }

    public static int AssociatedDataLength(in EnvelopeBinding binding) => AssociatedDataPrefix.Length + BoundHeaderBytes + binding.Length;

    public static void WriteAssociatedData(Span<byte> destination, ReadOnlySpan<byte> envelope, in EnvelopeBinding binding)
    {
        AssociatedDataPrefix.CopyTo(destination);
        envelope[..BoundHeaderBytes].CopyTo(destination[AssociatedDataPrefix.Length..]);
        binding.WriteTo(destination[(AssociatedDataPrefix.Length + BoundHeaderBytes)..]);
    }
}
