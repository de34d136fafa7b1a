using System.Globalization;

namespace EfEnvelope;

/// <summary>What one census costs: it reads every table with encrypted columns, whole. Estimated from the database's statistics and from a sample. Immutable.</summary>
/// <param name="Rows">Rows of these tables: as last analysed, and counted or told from the size where they never were; SQLite counts them.</param>
/// <param name="Bytes">Bytes of these tables on disk, all partitions of a partitioned one.</param>
/// <param name="Duration">How long it takes, by <paramref name="Source"/>.</param>
/// <param name="Source">What the duration rests on: the longer of what a sample of rows took, read as a census reads them, and of 100 MiB/s, a modest sequential read of what stands in no cache.</param>
public sealed record CensusCost(long Rows, long Bytes, TimeSpan Duration, string Source)
{
    /// <summary>One line for people.</summary>
    public string ToText() => string.Create(CultureInfo.InvariantCulture, $"one census reads about {Rows} row(s), {Bytes / (1024.0 * 1024):0.0} MiB: about {Duration.TotalSeconds:0.#} s ({Source})");
}
