using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>jobs</c>: what the job tables say of running and past re-encryptions.</summary>
internal sealed class JobVerbs(Func<DbContext> createContext, Action<string> print)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true, Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) } };

    public Command CreateCommand()
    {
        var json = new Option<bool>("--json") { Description = "print JSON instead of lines" };
        var most = new Option<int>("--last") { Description = "how many jobs, 1 to 10,000", DefaultValueFactory = _ => 20 };
        var jobs = new Command("jobs", "re-encryption jobs, the newest first: state, progress, workers of all processes") { json, most };
        jobs.SetAction((parsed, cancellationToken) => RunAsync(parsed.GetValue(most), parsed.GetValue(json), cancellationToken));
        return jobs;
    }

    private async Task<int> RunAsync(int most, bool json, CancellationToken cancellationToken)
    {
        if (most is < 1 or > 10_000)
        {
            throw new EnvelopeConfigurationException("--last is 1 to 10,000.");
        }

        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            var jobs = await new EnvelopeKeys(context).ListJobsAsync(most, cancellationToken).ConfigureAwait(false);
            if (json)
            {
                print(JsonSerializer.Serialize(jobs, Json));
                return EnvelopeCommandLine.Proven;
            }

            foreach (var job in jobs)
            {
                print(string.Create(CultureInfo.InvariantCulture, $"{job.Id}  {job.State}  {job.UnitsDone} of {job.Units} unit(s), {job.Rows} row(s), {job.Conflicts} conflict(s), {job.Quarantined} quarantined  {job.Keys.Count} key(s)  began {job.CreatedAt:u}{(job.FinishedAt is { } end ? $"  finished {end:u}" : job.LastHeartbeat is { } beat ? $"  last heartbeat {beat:u}" : "")}"));
                foreach (var worker in job.Workers)
                {
                    print(string.Create(CultureInfo.InvariantCulture, $"  {worker.Name}  {worker.Table}, unit {worker.Unit}: {worker.Rows} row(s)  last heartbeat {worker.LastHeartbeat:u}  {(worker.IsAlive ? $"lease until {worker.LeaseUntil:u}" : "its lease is over: others may take the unit")}"));
                }
            }

            if (jobs.Count == 0)
            {
                print("No re-encryption was run yet.");
            }

            return EnvelopeCommandLine.Proven;
        }
    }
}
