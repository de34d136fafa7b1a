using System.Globalization;

namespace EfEnvelope;

/// <summary>What one census costs: it reads every table with encrypted columns, whole. Estimated from the database's statistics, without reading the tables.</summary>
/// <param name="Rows">Rows of these tables, as last analysed; SQLite counts them.</param>
/// <param name="Bytes">Bytes of these tables on disk.</param>
/// <param name="Duration">At 100 MiB/s, a modest sequential read; cached tables take less.</param>
public sealed record CensusCost(long Rows, long Bytes, TimeSpan Duration)
{
    /// <summary>One line for people.</summary>
    public string ToText() => string.Create(CultureInfo.InvariantCulture, $"one census reads about {Rows} row(s), {Bytes / (1024.0 * 1024):0.0} MiB: about {Duration.TotalSeconds:0.#} s at 100 MiB/s");
}
