using System.Diagnostics;
using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G52: rows with keys of their own, none of which is held.</summary>
internal sealed class RowKeyScenario : IScenario
{
    private const int RowsPerQuery = 500;

    public IEnumerable<Measurement> Measurements =>
        Databases.Providers.SelectMany(provider => CustomerData.Backends.Select(backend =>
                new Measurement("G52", "row-keys-cold", backend, provider, Bar.AtMost(4), settings => CompareAsync(provider, backend, settings))))
            .Append(new Measurement("G52", "ring-queries-per-500-rows", "-", Databases.Postgres, Bar.AtMost(1), CountAsync));

    private static async Task<double> CompareAsync(string provider, string backend, RunSettings settings)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(SealedCustomer), typeof(RowKeyedCustomer));
        var result = await new PairedRun(settings)
            .Add("one tenant key", () => ReadAllAsync<SealedCustomer>(data, backend), () => ForgetAsync(data, backend))
            .Add("row keys", () => ReadAllAsync<RowKeyedCustomer>(data, backend), () => ForgetAsync(data, backend))
            .RunAsync();
        return result.Ratio("row keys", "one tenant key");
    }

    /// <summary>Every query of the ring counts: of keys, keks and the ring's own row. Npgsql tells of each command by an activity.</summary>
    private static async Task<double> CountAsync(RunSettings settings)
    {
        var data = await CustomerData.GetAsync(Databases.Postgres, settings, typeof(SealedCustomer), typeof(RowKeyedCustomer));
        await ReadAllAsync<RowKeyedCustomer>(data, CustomerData.Libsodium);
        await ForgetAsync(data, CustomerData.Libsodium);
        var commands = 0;
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Npgsql",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity => Interlocked.Increment(ref commands),
        };
        ActivitySource.AddActivityListener(listener);
        await ReadAllAsync<RowKeyedCustomer>(data, CustomerData.Libsodium);
        var ring = commands - 1;
        settings.Note($"{ring} ring queries for {settings.Rows} rows");
        return ring / ((double)settings.Rows / RowsPerQuery);
    }

    private static Task ForgetAsync(CustomerData data, string backend)
    {
        using var context = data.Sealed(backend);
        EnvelopeSession.Of(context).Ring.Invalidate();
        return Task.CompletedTask;
    }

    private static async Task ReadAllAsync<T>(CustomerData data, string backend)
        where T : class
    {
        await using var context = data.Sealed(backend);
        await context.Set<T>().AsNoTracking().ToListAsync();
    }
}
