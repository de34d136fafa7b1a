namespace EfEnvelope.Benchmarks.Running;

/// <summary>How much is measured, and where the particulars go.</summary>
/// <param name="IsQuick">Fewer rows: a look at whether everything runs, not a figure to quote.</param>
internal sealed record RunSettings(bool IsQuick)
{
    /// <summary>Interleaved rounds of a comparison: never fewer than seven.</summary>
    public int Rounds { get; init; } = IsQuick ? 7 : 11;

    /// <summary>How long a comparison may look for steady least times beyond that.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(IsQuick ? 2 : 20);

    /// <summary>Rounds beforehand, which do not count.</summary>
    public int WarmUps { get; init; } = 3;

    /// <summary>How long these go on at least.</summary>
    public TimeSpan WarmUpTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a turn should take: shorter work is repeated in it.</summary>
    public TimeSpan TurnTime { get; init; } = TimeSpan.FromMilliseconds(IsQuick ? 50 : 200);

    /// <summary>Rows of a bulk read.</summary>
    public int Rows => IsQuick ? 2_000 : 10_000;

    /// <summary>A line about the measurement, on the error stream: the figures alone stand on the output.</summary>
    public void Note(string line) => Console.Error.WriteLine("  " + line);
}
