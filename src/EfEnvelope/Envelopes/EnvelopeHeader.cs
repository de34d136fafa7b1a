namespace EfEnvelope.Envelopes;

/// <summary>Offsets of format 1 (FORMAT.md, Envelope): marker, suite, encoding, key id, session, nonce, ciphertext, tag.</summary>
internal static class EnvelopeHeader
{
    public const byte Marker = 0xC1;
    public const byte Suite = 0x01;
    public const byte EncodingMask = 0x3F;
    public const byte PaddedFlag = 0x40;
    public const byte RowBoundFlag = 0x80;

    public const int SuiteOffset = 1;
    public const int EncodingOffset = 2;
    public const int KeyIdOffset = 3;
    public const int AuthenticatedLength = 19;
    public const int SessionOffset = 19;
    public const int NonceOffset = 27;
    public const int TextOffset = 39;
    public const int Overhead = 55;
    public const int MaxTextLength = 1 << 30;
}
