namespace EfEnvelope;

/// <summary>A value is not a genuine envelope of its place: wrong marker, suite, length, a flipped bit, another column, scope, row, purpose or key, an encoding that does not fit, plaintext where an envelope is expected. No part of the value is returned.</summary>
public sealed class EnvelopeRefusedException : EnvelopeEncryptionException
{
    internal EnvelopeRefusedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
