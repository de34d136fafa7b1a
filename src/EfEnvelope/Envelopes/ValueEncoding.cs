namespace EfEnvelope.Envelopes;

/// <summary>How a value became bytes: bits 0-5 of an envelope's third byte (FORMAT, Value encodings).</summary>
internal enum ValueEncoding : byte
{
    None = 0,
    Text = 1,
    Bytes = 2,
    SignedInteger = 3,
    UnsignedInteger = 4,
    Boolean = 5,
    FloatingPoint = 6,
    Decimal = 7,
    Guid = 8,
    DateTime = 9,
    DateTimeOffset = 10,
    DateOnly = 11,
    Time = 12,
    Json = 13,
    WrappedKey = 63,
}
