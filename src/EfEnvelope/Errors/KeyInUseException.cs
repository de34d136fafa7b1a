namespace EfEnvelope;

/// <summary>
/// A key is kept because nobody can prove yet that it is out of use: cells name it, the cut-off is not reached, or the ring lists databases that are not counted or columns that are not found.
/// The same call may succeed later; the message says what to do first.
/// </summary>
public sealed class KeyInUseException : EnvelopeEncryptionException
{
    internal KeyInUseException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
