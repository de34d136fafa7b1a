using System.Globalization;

namespace EfEnvelope.Benchmarks.Running;

/// <summary>The times of a <see cref="PairedRun"/>, the least processor times, and the least bytes allocated, by variant.</summary>
internal sealed class PairedResult(IReadOnlyDictionary<string, TimeSpan[]> times, IReadOnlyDictionary<string, TimeSpan> processor, IReadOnlyDictionary<string, long> allocated)
{
    public TimeSpan Minimum(string variant) => times[variant].Min();

    public TimeSpan Median(string variant) => times[variant].Order().ElementAt(times[variant].Length / 2);

    /// <summary>Least time to least time.</summary>
    public double Ratio(string variant, string baseline) => Minimum(variant) / Minimum(baseline);

    public override string ToString()
    {
        var baseline = times.Keys.First();
        return string.Join("; ", times.Keys.Select(name => string.Create(
            CultureInfo.InvariantCulture,
            $"{name}: least {Minimum(name).TotalMilliseconds:0.000} ms, median {Median(name).TotalMilliseconds:0.000} ms, {allocated[name] / 1024} KiB{(name == baseline ? "" : $" (ratio of medians {Median(name) / Median(baseline):0.00}, of processor times {processor[name] / processor[baseline]:0.00})")}")))
            + string.Create(CultureInfo.InvariantCulture, $"; {times[baseline].Length} rounds");
    }
}
