using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Cli;

/// <summary>
/// The <c>envelope</c> verbs for an application's own executable: one line in Program.cs,
/// <c>if (args is ["envelope", .. var verb]) return await EnvelopeCommandLine.RunAsync(verb, () => new BankContext());</c>
/// </summary>
/// <remarks>Exit codes: 0 done and proven, 1 failed (<c>verify-report</c>: not genuine), 2 bad input, 3 finished with quarantined cells, 4 stopped and resumable, or not proven; see the constants.</remarks>
public static class EnvelopeCommandLine
{
    /// <summary>Done, and proven where there is something to prove.</summary>
    public const int Proven = 0;

    /// <summary>Failed; the message says what state the data is in.</summary>
    public const int Failed = 1;

    /// <summary>The words, the configuration or the database's tables are wrong, and no retry helps. Nothing was changed, or nothing more than the message says.</summary>
    public const int BadInput = 2;

    /// <summary>Finished, but cells that could not be opened still name a stale key.</summary>
    public const int Quarantined = 3;

    /// <summary>Stopped before the end, or not proven: the cut-off was not reached, cells were passed over because a key cannot be used, or a key that is to end is kept because it may still be in use (<see cref="KeyInUseException"/>). What to do is said; run it again.</summary>
    public const int Stopped = 4;

    /// <summary>Runs a verb: <c>status</c>, <c>census</c>, <c>rotate</c>, <c>compromise</c>, <c>reencrypt</c>, <c>jobs</c>, <c>quarantine</c>, <c>databases</c>, <c>columns</c>, <c>verify-report</c>, <c>rewrap</c>, <c>revoke</c>, <c>destroy</c>, <c>cancel-destruction</c>, <c>erase</c>, <c>export</c>, <c>import</c>.</summary>
    /// <param name="args">The words after <c>envelope</c>.</param>
    /// <param name="createContext">Makes a context of the application, with its options; disposed after the verb.</param>
    /// <param name="console">Where to print; null for the process's console. Redirected output is plain.</param>
    /// <param name="cancellationToken">Stops a job after its current batch. Ctrl+C and SIGTERM do the same; the second one ends the process at once, which loses nothing either.</param>
    /// <returns>The exit code. Errors of a verb are printed and are an exit code, no exception.</returns>
    /// <exception cref="ArgumentNullException">The words or the function are null.</exception>
    public static async Task<int> RunAsync(string[] args, Func<DbContext> createContext, IAnsiConsole? console = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(args);
        ArgumentNullException.ThrowIfNull(createContext);
        console ??= AnsiConsole.Console;
        var events = new EventStream(console.Profile.Out.Writer, TimeProvider.System);
        var verbs = new Verbs(createContext, console, events);
        var result = verbs.CreateCommand().Parse(args);
        if (result.Errors.Count > 0)
        {
            await result.InvokeAsync(new InvocationConfiguration { Output = Console.Error }, CancellationToken.None).ConfigureAwait(false);
            return BadInput;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var interrupt = StopSignal.Listen(PosixSignal.SIGINT, stop);
        using var terminate = StopSignal.Listen(PosixSignal.SIGTERM, stop);
        try
        {
            return await result.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, stop.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (stop.IsCancellationRequested && (error is OperationCanceledException or System.Data.Common.DbException))
        {
            // The worker that notices the stop first may break the statement of another.
            return End(Stopped, "Stopped after the current batch. Nothing is lost: run the same command again.");
        }
        catch (Reencryption.WindowClosedException closed)
        {
            return End(Stopped, closed.Message);
        }
        catch (System.Data.Common.DbException error)
        {
            return End(Failed, $"The database failed: {(error as Npgsql.PostgresException)?.MessageText ?? error.Message} What was committed stands. Put it right, then run the verb again.", error);
        }
        catch (EnvelopeEncryptionException error)
        {
            return End(error is KeyInUseException ? Stopped : error is EnvelopeConfigurationException or KeyNotFoundInRingException or KeyRevokedException or KeyDestroyedException ? BadInput : Failed, error.Message, error);
        }
        catch (Exception error)
        {
            // Of a library below: its text may hold anything, so it is no event.
            await Console.Error.WriteLineAsync(error.ToString()).ConfigureAwait(false);
            return End(Failed, $"Failed: {error.GetType().Name}; standard error has more. What was committed stands: run the verb again.", error);
        }

        int End(int exitCode, string message, Exception? error = null)
        {
            if (result.CommandResult.Command.Options.OfType<Option<bool>>().FirstOrDefault(o => o.Name == "--json") is { } json && result.GetValue(json))
            {
                return events.Finish(exitCode, message, error?.GetType().Name);
            }

            verbs.Print(message);
            return exitCode;
        }
    }
}
