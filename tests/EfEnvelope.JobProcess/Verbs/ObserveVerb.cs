using System.Text.Json;
using EfEnvelope.Envelopes;
using EfEnvelope.JobProcess.Load;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.JobProcess.Verbs;

/// <summary>
/// An application that seals for one tenant all the time, and tries a stolen copy of a cell: says by which key it seals and whether the copy opens, whenever that changes; and, when its input ends, when it last began a save
/// that a key sealed, and an opening that succeeded. Times are milliseconds of Unix time.
/// </summary>
internal static class ObserveVerb
{
    public static async Task<int> RunAsync(Arguments arguments)
    {
        var target = arguments.Target;
        var tenant = (int)arguments.Number("tenant", 1);
        var number = arguments.Number("first", 1_000_000);
        var stolen = Convert.FromHexString(arguments.Text("stolen"));
        var ended = Task.Run(() => Console.In.ReadToEnd());
        var last = new Dictionary<Guid, long>();
        Guid? sealing = null;
        string? opening = null;
        var lastOpened = 0L;
        while (!ended.IsCompleted)
        {
            var began = Now();
            try
            {
                await using var context = target.CreateContext();
                context.Add(new Item { Id = number, Number = number, TenantId = tenant, First = $"f{number}", Second = $"s{number}" });
                await context.SaveChangesAsync();
            }
            catch (DbUpdateException error) when (error.InnerException is KeyUnavailableException)
            {
                // The lease of a test is so short that a slow machine may need longer to send what it sealed: refused where the key was retired meanwhile, to be saved again.
                continue;
            }

            var key = await KeyOfAsync(target, number++);
            last[key] = began;
            if (key != sealing)
            {
                sealing = key;
                Say(new { Event = "seals", Key = key, At = Now() });
            }

            var tried = Now();
            var outcome = await OpenAsync(target, stolen);
            lastOpened = outcome == "opened" ? tried : lastOpened;
            if (outcome != opening)
            {
                opening = outcome;
                Say(new { Event = "opens", Outcome = outcome, At = Now() });
            }

            // Several of these, and whoever is observed, share the processors.
            await Task.Delay(5);
        }

        Say(new { Event = "lastOpened", At = lastOpened });
        foreach (var (key, at) in last)
        {
            Say(new { Event = "last", Key = key, At = at });
        }

        return 0;
    }

    public static async Task<string> OpenAsync(Target target, byte[] stolen)
    {
        try
        {
            await using var context = target.CreateContext();
            _ = await new EnvelopeProtector(context).OpenAsync((Item i) => i.First!, stolen);
            return "opened";
        }
        catch (EnvelopeEncryptionException refused)
        {
            return refused.GetType().Name;
        }
    }

    public static async Task<byte[]> CellAsync(Target target, long number)
    {
        await using var connection = target.Connect();
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = $"SELECT \"First\" FROM \"Items\" WHERE \"Number\" = {number}";
        return (byte[])(await command.ExecuteScalarAsync())!;
    }

    public static async Task<Guid> KeyOfAsync(Target target, long number)
        => EnvelopeCodec.TryReadKeyId(await CellAsync(target, number), out var key) ? key : throw new InvalidOperationException("A cell is no envelope.");

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private static void Say(object what) => Console.WriteLine(JsonSerializer.Serialize(what, JsonSerializerOptions.Web));
}
