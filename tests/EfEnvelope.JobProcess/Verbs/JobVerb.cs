using System.Runtime.InteropServices;
using System.Text.Json;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary>
/// <c>job [--batch N] [--unit N] [--parallel N] [--unit-lease S] [--cut-off S] [--pause S]</c>: the re-encryption job. Prints JSON lines: <c>progress</c> and, at the end, <c>report</c>; the exit codes are the command line's.
/// </summary>
internal static class JobVerb
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        using var stop = new CancellationTokenSource();
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            stop.Cancel();
        });
        var faults = FaultPlan.FromEnvironment();
        var options = new ReencryptionOptions
        {
            BatchSize = (int)arguments.Number("batch", 500),
            UnitSize = (int)arguments.Number("unit", 20_000),
            DegreeOfParallelism = (int)arguments.Number("parallel", 2),
            UnitLease = arguments.Seconds("unit-lease", 5),
            CutOffTimeout = arguments.Seconds("cut-off", 60),
            Pause = arguments.Seconds("pause", 0),
            FaultPoint = faults.ReachAsync,
        };
        await using var context = arguments.Target.CreateContext();
        try
        {
            var report = await new EnvelopeKeys(context).ReencryptAsync(options, new Printer(), stop.Token);
            PrintReport(report);
            return report.IsProven ? EnvelopeCommandLine.Proven : report.Quarantined > 0 ? EnvelopeCommandLine.Quarantined : EnvelopeCommandLine.Stopped;
        }
        catch (OperationCanceledException)
        {
            Print(new { Event = "stopped" });
            return EnvelopeCommandLine.Stopped;
        }
        catch (EnvelopeEncryptionException error)
        {
            Print(new { Event = "error", Type = error.GetType().Name, error.Message });
            return error is EnvelopeConfigurationException ? EnvelopeCommandLine.BadInput : EnvelopeCommandLine.Failed;
        }
        catch (Exception error)
        {
            Print(new { Event = "error", Type = error.GetType().Name, Message = error.ToString() });
            return EnvelopeCommandLine.Failed;
        }
    }

    internal static void PrintReport(ReencryptionReport report)
        => Print(new
        {
            Event = "report", Proven = report.IsProven, Because = report.NotProvenBecause, report.Rows, report.Conflicts, report.Quarantined, Seconds = report.Elapsed.TotalSeconds,
            StaleKeys = report.Completion.StaleKeys.Sum(k => k.Keys), Stale = report.Census.StaleCells, report.Census.Cells, Completion = report.Completion.ToJson(),
        });

    internal static void Print<T>(T line)
    {
        Console.WriteLine(JsonSerializer.Serialize(line, JsonSerializerOptions.Web));
        Console.Out.Flush();
    }

    internal sealed class Printer : IProgress<ReencryptionProgress>
    {
        public void Report(ReencryptionProgress value)
            => Print(new { Event = "progress", value.Table, value.Done, value.ToDo, value.RowsPerSecond, value.Conflicts, value.Quarantined });
    }
}
