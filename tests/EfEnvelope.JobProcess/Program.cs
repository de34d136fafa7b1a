using System.Text.Json;
using EfEnvelope;
using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.JobProcess.Verbs;
using EfEnvelope.Reencryption;

// A process of a test: the job, or the application that writes meanwhile. See each verb.
if (args.Length == 0)
{
    Console.Error.WriteLine($"Verbs: load, rotate, job, scheduler, write, observe, verify, interleave, chaos, postgres, envelope (the command line's own: -- after the target). Steps of EFENVELOPE_FAULT: {string.Join(", ", Enum.GetNames<JobStep>())}.");
    return 2;
}

var verb = args[0];
var separator = Array.IndexOf(args, "--");
var arguments = new Arguments(args[1..(separator < 0 ? args.Length : separator)]);
switch (verb)
{
    case "load":
        await Loader.RunAsync(arguments.Target, arguments.Number("rows", 1000), (int)arguments.Number("tenants", 4), arguments.Kinds);
        return 0;
    case "rotate":
        await using (var context = arguments.Target.CreateContext())
        {
            await Retirement.RotateAllAsync(context, arguments.Text("reason", "chaos"), compromise: arguments.Number("compromise", 0) == 1);
        }

        return 0;
    case "job":
        return await JobVerb.RunAsync(arguments);
    case "scheduler":
        return await SchedulerVerb.RunAsync(arguments);
    case "write":
        return await WriteVerb.RunAsync(arguments);
    case "observe":
        return await ObserveVerb.RunAsync(arguments);
    case "verify":
        var oracle = new RowOracle(arguments.Number("rows", 0));
        foreach (var log in Directory.GetFiles(arguments.Text("log"), "*.log"))
        {
            WriteLog.Read(log, oracle);
        }

        var result = await Verifier.RunAsync(arguments.Target, oracle, arguments.Kinds);
        Console.WriteLine(JsonSerializer.Serialize(new { Event = "verified", result.Rows, result.LostUpdates, Wrong = result.Wrong.Take(20) }, JsonSerializerOptions.Web));
        return result.LostUpdates == 0 ? 0 : 1;
    case "chaos":
        return await ChaosVerb.RunAsync(arguments);
    case "interleave":
        var seed = (int)arguments.Number("seed", Environment.TickCount);
        Console.WriteLine($"seed {seed}");
        var interleaved = await new Interleaver(arguments.Target, seed).RunAsync(arguments.Number("count", 10_000));
        Console.WriteLine(JsonSerializer.Serialize(new { Event = "interleaved", Seed = seed, interleaved.Interleavings, interleaved.Rounds, interleaved.Conflicts }, JsonSerializerOptions.Web));
        return 0;
    case "postgres":
        // A throw-away server until standard input ends, for trying things by hand.
        await using (var cluster = await PostgresCluster.StartAsync())
        {
            Console.WriteLine(cluster.ConnectionString);
            while (Console.In.Read() >= 0)
            {
            }
        }

        return 0;
    case "envelope":
        return await EnvelopeCommandLine.RunAsync(args[(separator + 1)..], () => arguments.Target.CreateContext());
    default:
        Console.Error.WriteLine($"There is no verb '{verb}'.");
        return 2;
}
