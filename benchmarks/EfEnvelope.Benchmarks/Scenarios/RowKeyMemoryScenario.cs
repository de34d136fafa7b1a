using EfEnvelope.Benchmarks.Data;
using EfEnvelope.Benchmarks.Running;

namespace EfEnvelope.Benchmarks.Scenarios;

/// <summary>G54: the managed memory of a whole job, censuses included, over rows with keys of their own: four times as many, as a part of what the fewer took. 1 would be flat.</summary>
internal sealed class RowKeyMemoryScenario : IScenario
{
    private const int Workers = 2;

    public IEnumerable<Measurement> Measurements =>
        Databases.Providers.Select(provider => new Measurement("G54", "row-keys-heap-4-fold", "-", provider, Bar.AtMost(1.25), settings => CompareAsync(provider, settings)));

    private static async Task<double> CompareAsync(string provider, RunSettings settings)
    {
        var few = settings.IsQuick ? 5_000 : 50_000;

        // What the process makes once, of code and pools, is no part of it.
        await PeakAsync(provider, 2_000, settings);
        var peak = await PeakAsync(provider, few, settings);
        return await PeakAsync(provider, 4 * few, settings) / peak;
    }

    private static async Task<double> PeakAsync(string provider, int rows, RunSettings settings)
    {
        var vouchers = await Vouchers.CreateAsync(provider, rows);
        var (bytes, elapsed) = await HeapPeak.OfAsync(async () => ArgumentOutOfRangeException.ThrowIfNotEqual((await vouchers.ReencryptAsync(Workers)).Rows, rows));
        settings.Note($"{rows} row keys: {bytes / (1024.0 * 1024):0.0} MiB of managed memory at the peak, {rows / elapsed.TotalSeconds:0} rows/s");
        return bytes;
    }
}
