using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G50: reads of encrypted columns against the same reads of plain ones.</summary>
internal sealed class ReadScenario : IScenario
{
    private const int PointReads = 500;

    public IEnumerable<Measurement> Measurements =>
        from provider in Databases.Providers
        from backend in CustomerData.Backends
        let bulk = Bar.AtMost(backend == CustomerData.Bcl ? 6 : 1.8)
        from measurement in new[]
        {
            new Measurement("G50", "read-untracked", backend, provider, bulk, settings => BulkAsync(provider, backend, settings, QueryTrackingBehavior.NoTracking)),
            new Measurement("G50", "read-tracked", backend, provider, bulk, settings => BulkAsync(provider, backend, settings, QueryTrackingBehavior.TrackAll)),
            new Measurement("G50", "point-read", backend, provider, Bar.AtMost(1.10), settings => PointAsync(provider, backend, settings)),
        }
        select measurement;

    private static async Task<double> BulkAsync(string provider, string backend, RunSettings settings, QueryTrackingBehavior tracking)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(PlainCustomer), typeof(SealedCustomer));
        var result = await new PairedRun(settings)
            .Add("plain", () => ReadAllAsync<PlainCustomer>(data.Plain(), settings.Rows, tracking))
            .Add("encrypted", () => ReadAllAsync<SealedCustomer>(data.Sealed(backend), settings.Rows, tracking))
            .RunAsync();
        return result.Ratio("encrypted", "plain");
    }

    private static async Task ReadAllAsync<T>(DbContext context, int rows, QueryTrackingBehavior tracking)
        where T : class
    {
        await using (context)
        {
            var all = await context.Set<T>().AsTracking(tracking).ToListAsync();
            ArgumentOutOfRangeException.ThrowIfNotEqual(all.Count, rows);
        }
    }

    /// <summary>One row by its key, each in a context of its own, as a request would.</summary>
    private static async Task<double> PointAsync(string provider, string backend, RunSettings settings)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(PlainCustomer), typeof(SealedCustomer));
        var result = await new PairedRun(settings)
            .Add("plain", () => ReadEachAsync<PlainCustomer>(data.Plain, settings.Rows))
            .Add("encrypted", () => ReadEachAsync<SealedCustomer>(() => data.Sealed(backend), settings.Rows))
            .RunAsync();
        return result.Ratio("encrypted", "plain");
    }

    private static async Task ReadEachAsync<T>(Func<DbContext> create, int rows)
        where T : class, ICustomer
    {
        for (var i = 0; i < PointReads; i++)
        {
            var id = 1 + (i * 7919 % rows);
            await using var context = create();
            var found = await context.Set<T>().AsNoTracking().SingleAsync(c => c.Id == id);
            ArgumentOutOfRangeException.ThrowIfNotEqual(found.Id, id);
        }
    }
}
