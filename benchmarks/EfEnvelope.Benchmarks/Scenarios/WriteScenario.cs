using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G50: one SaveChanges of many rows with all five values.</summary>
internal sealed class WriteScenario : IScenario
{
    private const int FirstNew = 1_000_000;
    private const int Count = 1_000;

    public IEnumerable<Measurement> Measurements =>
        from provider in Databases.Providers
        from backend in CustomerData.Backends
        from measurement in new[]
        {
            new Measurement("G50", "insert", backend, provider, Bar.AtMost(1.15), settings => InsertAsync(provider, backend, settings)),
            new Measurement("G50", "update", backend, provider, Bar.AtMost(1.25), settings => UpdateAsync(provider, backend, settings)),
        }
        select measurement;

    private static async Task<double> InsertAsync(string provider, string backend, RunSettings settings)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(PlainCustomer), typeof(SealedCustomer));
        var plain = new Save<PlainCustomer>(data.Plain);
        var encrypted = new Save<SealedCustomer>(() => data.Sealed(backend));
        var result = await new PairedRun(settings)
            .Add("plain", plain.RunAsync, plain.PrepareInsertAsync)
            .Add("encrypted", encrypted.RunAsync, encrypted.PrepareInsertAsync)
            .RunAsync();
        await plain.ClearAsync();
        await encrypted.ClearAsync();
        return result.Ratio("encrypted", "plain");
    }

    private static async Task<double> UpdateAsync(string provider, string backend, RunSettings settings)
    {
        var data = await CustomerData.GetAsync(provider, settings, typeof(PlainCustomer), typeof(SealedCustomer));
        var plain = new Save<PlainCustomer>(data.Plain);
        var encrypted = new Save<SealedCustomer>(() => data.Sealed(backend));
        var result = await new PairedRun(settings)
            .Add("plain", plain.RunAsync, plain.PrepareUpdateAsync)
            .Add("encrypted", encrypted.RunAsync, encrypted.PrepareUpdateAsync)
            .RunAsync();
        return result.Ratio("encrypted", "plain");
    }

    /// <summary>A context with changes that wait to be saved.</summary>
    private sealed class Save<T>(Func<DbContext> create)
        where T : class, ICustomer, new()
    {
        private DbContext? _context;
        private int _turn;

        public async Task PrepareInsertAsync()
        {
            await ClearAsync();
            _context = create();
            _context.AddRange(CustomerData.Customers<T>(FirstNew, Count));
        }

        public async Task PrepareUpdateAsync()
        {
            await DisposeContextAsync();
            _context = create();
            _turn++;
            foreach (var customer in await _context.Set<T>().OrderBy(c => c.Id).Take(Count).ToListAsync())
            {
                CustomerData.Fill(customer, customer.Id + (_turn * Count));
            }
        }

        public async Task RunAsync() => ArgumentOutOfRangeException.ThrowIfNotEqual(await _context!.SaveChangesAsync(), Count);

        public async Task ClearAsync()
        {
            await DisposeContextAsync();
            await using var context = create();
            await context.Set<T>().Where(c => c.Id >= FirstNew).ExecuteDeleteAsync();
        }

        private async Task DisposeContextAsync()
        {
            if (_context is not null)
            {
                await _context.DisposeAsync();
                _context = null;
            }
        }
    }
}
