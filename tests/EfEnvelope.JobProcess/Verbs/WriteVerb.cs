using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary>
/// <c>write --log FOLDER --rows N [--tenants N] [--rate N] [--writers N] [--seconds S] [--kinds Item,Paper,Card,Ledger] [--seed N]</c>: the application. Writes at a steady rate until its time is over or its standard input
/// ends; what it did stands in one log a writer, from which a later process goes on. Prints one JSON line; exit code 1 when a row did not hold the last write.
/// </summary>
internal static class WriteVerb
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var target = arguments.Target;
        var writers = (int)arguments.Number("writers", 4);
        var rate = arguments.Number("rate", 200);
        var rows = arguments.Number("rows", 0);
        var seconds = arguments.Seconds("seconds", double.MaxValue / 1e300);
        var folder = Directory.CreateDirectory(arguments.Text("log")).FullName;
        using var stop = new CancellationTokenSource();
        _ = Task.Run(() =>
        {
            while (Console.In.Read() >= 0)
            {
            }

            stop.Cancel();
        });
        var applications = new List<Application>();
        var logs = new List<WriteLog>();
        for (var index = 0; index < writers; index++)
        {
            var path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"writer-{index}.log"));
            var oracle = new RowOracle(rows);
            if (File.Exists(path))
            {
                WriteLog.Read(path, oracle);
            }

            var faults = FaultPlan.FromEnvironment();
            logs.Add(new WriteLog(path));
            applications.Add(new Application(
                target, oracle, logs[^1], arguments.Kinds, (int)arguments.Number("seed", 1) + index, (int)arguments.Number("tenants", 4), index, writers,
                faults.Knows(FaultPlan.Sealed) ? [new SealedPoint(() => faults.Reach(FaultPlan.Sealed))] : []));
        }

        Console.WriteLine("READY");
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(applications.Select(a => Task.Run(() => WriteAsync(a, TimeSpan.FromSeconds((double)writers / rate), seconds, stop.Token))));
        logs.ForEach(log => log.Dispose());
        var elapsed = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var violations = applications.SelectMany(a => a.Violations).ToList();
        Console.WriteLine(JsonSerializer.Serialize(
            new { Event = "written", Writes = applications.Sum(a => a.Writes), Rate = applications.Sum(a => a.Writes) / elapsed, Uncertain = applications.Sum(a => a.Uncertain), Deadlocks = applications.Sum(a => a.Deadlocks), Violations = violations },
            JsonSerializerOptions.Web));
        return violations.Count == 0 ? 0 : 1;
    }

    private static async Task WriteAsync(Application application, TimeSpan interval, TimeSpan duration, CancellationToken stop)
    {
        await application.RecoverAsync(CancellationToken.None);
        var started = Stopwatch.GetTimestamp();
        long done = 0, turns = 0;
        while (!stop.IsCancellationRequested && Stopwatch.GetElapsedTime(started) is var elapsed && elapsed < duration)
        {
            var ahead = (interval * done) - elapsed;
            if (ahead > TimeSpan.FromMilliseconds(1))
            {
                await Task.Delay(ahead < TimeSpan.FromMilliseconds(200) ? ahead : TimeSpan.FromMilliseconds(200), CancellationToken.None);
                continue;
            }

            // What was rolled back is made up for.
            turns++;
            done += await application.OperateAsync(turns % 16 == 15 ? 3 : 1, CancellationToken.None);
        }
    }
}
