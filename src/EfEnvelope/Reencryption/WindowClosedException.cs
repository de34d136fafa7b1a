namespace EfEnvelope.Reencryption;

/// <summary>A job that stops outside of its window: resumable, like any other that is stopped, though nobody cancelled it.</summary>
internal sealed class WindowClosedException(ReencryptionWindow window)
    : OperationCanceledException($"The window for re-encryption ({window.From}-{window.To} {window.Zone.Id}) is closed. What was committed stands; the next run goes on from there.");
