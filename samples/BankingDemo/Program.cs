using System.CommandLine;
using System.Runtime.InteropServices;
using BankingDemo;
using EfEnvelope;
using EfEnvelope.Cli;
using Spectre.Console;

var customers = new Option<int>("--customers") { Description = "customers to invent (0-1,000,000)", DefaultValueFactory = _ => 300 };
var postgres = new Option<string?>("--postgres") { Description = "a PostgreSQL connection string; default is a SQLite file" };
var aws = new Option<string?>("--aws-kms") { Description = "an AWS KMS key (alias, id or ARN); default is a local key file. Endpoint and credentials are the SDK's ordinary ones" };
var import = new Option<FileInfo>("--import") { Description = "a CSV of customers: Tenant, Number, FullName, Ssn, CreditLimit, BirthDate" };
var folder = new Option<DirectoryInfo>("--folder") { Description = "where the SQLite file and the key file stand", DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(Path.GetTempPath(), "efenvelope-banking-demo")) };
customers.Validators.Add(result =>
{
    // What is no number at all is reported by the parser.
    if (result.Tokens is [var token] && int.TryParse(token.Value, out var number) && number is < 0 or > 1_000_000)
    {
        result.AddError("--customers must be 0 to 1,000,000.");
    }
});
import.AcceptExistingOnly();

// Everything after `envelope` is for EfEnvelope's own verbs: status, census, rotate, compromise, reencrypt, revoke, rewrap.
var at = Array.IndexOf(args, "envelope");
var root = new RootCommand("An ordinary EF Core application that was given EfEnvelope.") { customers, postgres, aws, import, folder };
var parsed = root.Parse(at < 0 ? args : args[..at]);
if (parsed.Errors.Count > 0)
{
    await parsed.InvokeAsync();
    return EnvelopeCommandLine.BadInput;
}

// Ctrl+C, and SIGTERM of a container's end, stop after the current batch.
using var stop = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
root.SetAction(async (result, cancellationToken) =>
{
    if (Console.IsOutputRedirected)
    {
        // A file or a pipe has no width: lines are not broken at 80.
        AnsiConsole.Console.Profile.Width = 160;
    }

    var directory = result.GetValue(folder)!;
    directory.Create();
    var options = new DemoOptions(result.GetValue(customers), result.GetValue(postgres), result.GetValue(aws), result.GetValue(import)?.FullName, directory.FullName);
    try
    {
        return at < 0
            ? await new Story(options, AnsiConsole.Console).RunAsync(cancellationToken)
            : await EnvelopeCommandLine.RunAsync(args[(at + 1)..], options.CreateContext, cancellationToken: cancellationToken);
    }
    catch (EnvelopeEncryptionException error)
    {
        Console.Error.WriteLine(error.Message);
        return error is EnvelopeConfigurationException ? EnvelopeCommandLine.BadInput : EnvelopeCommandLine.Failed;
    }
    catch (System.Data.Common.DbException error)
    {
        Console.Error.WriteLine($"The database cannot be used: {error.Message}");
        return EnvelopeCommandLine.Failed;
    }
    catch (OperationCanceledException)
    {
        Console.Error.WriteLine("Stopped. Nothing is lost: run it again.");
        return EnvelopeCommandLine.Stopped;
    }
});
return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null }, stop.Token);

void Stop(PosixSignalContext signal)
{
    signal.Cancel = !stop.IsCancellationRequested;
    stop.Cancel();
}
