using System.Runtime.InteropServices;

namespace EfEnvelope.Cli;

/// <summary>
/// Turns a signal into a cancellation. System.CommandLine's own handler is not used: it is registered only when the verb first waits, which on SQLite, whose calls are all synchronous, may be never,
/// and it ends the process two seconds later, in the middle of a batch.
/// </summary>
internal static class StopSignal
{
    /// <summary>The first signal cancels; another one takes its ordinary course.</summary>
    public static PosixSignalRegistration Listen(PosixSignal signal, CancellationTokenSource stop)
        => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = !stop.IsCancellationRequested;
            stop.Cancel();
        });
}
