using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G50: what the extension costs a query that has nothing to do with it.</summary>
internal sealed class UnencryptedQueryScenario : IScenario
{
    private const int PointReads = 500;

    public IEnumerable<Measurement> Measurements =>
        from provider in Databases.Providers
        from measurement in new[]
        {
            new Measurement("G50", "unencrypted-read", "-", provider, Bar.AtMost(1.05), settings => CompareAsync(provider, settings, context => ReadAllAsync(context, settings.Rows), 1)),
            new Measurement("G50", "unencrypted-point-read", "-", provider, Bar.AtMost(1.05), settings => CompareAsync(provider, settings, context => context.Set<PlainCustomer>().AsNoTracking().SingleAsync(c => c.Id == 42), PointReads)),
        }
        select measurement;

    private static async Task<double> CompareAsync(string provider, RunSettings settings, Func<DbContext, Task> query, int times)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(PlainCustomer));
        var result = await new PairedRun(settings)
            .Add("without", () => RepeatAsync(data.Plain, query, times))
            .Add("with", () => RepeatAsync(() => data.Sealed(CustomerData.Libsodium), query, times))
            .RunAsync();
        return result.Ratio("with", "without");
    }

    private static async Task RepeatAsync(Func<DbContext> create, Func<DbContext, Task> query, int times)
    {
        for (var i = 0; i < times; i++)
        {
            await using var context = create();
            await query(context);
        }
    }

    private static async Task ReadAllAsync(DbContext context, int rows)
    {
        var all = await context.Set<PlainCustomer>().AsNoTracking().ToListAsync();
        ArgumentOutOfRangeException.ThrowIfNotEqual(all.Count, rows);
    }
}
