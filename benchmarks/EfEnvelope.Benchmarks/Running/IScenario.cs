namespace EfEnvelope.Benchmarks.Running;

/// <summary>A few figures of one kind. Every implementation in this assembly with a parameterless constructor is found and run: a new one needs a file and nothing else.</summary>
internal interface IScenario
{
    /// <summary>What can be measured; nothing runs until a measurement is chosen.</summary>
    IEnumerable<Measurement> Measurements { get; }
}

/// <summary>One figure that can be measured.</summary>
/// <param name="Guarantee">Whose bar it is, as <c>G50</c>.</param>
/// <param name="Name">What is measured, as <c>read-untracked</c>.</param>
/// <param name="Backend"><c>libsodium</c>, <c>bcl</c>, or <c>-</c>.</param>
/// <param name="Provider"><c>sqlite</c>, <c>postgres</c>, or <c>-</c>.</param>
/// <param name="Bar">What it is held against.</param>
/// <param name="MeasureAsync">Measures it; prepares and clears away what it needs.</param>
internal sealed record Measurement(string Guarantee, string Name, string Backend, string Provider, Bar Bar, Func<RunSettings, Task<double>> MeasureAsync)
{
    public string Title => $"{Guarantee} {Name} {Backend} {Provider}";
}

/// <summary>The most, or the least, that a figure may be.</summary>
internal readonly record struct Bar(double Limit, bool IsLeast)
{
    public static Bar AtMost(double limit) => new(limit, false);

    public static Bar AtLeast(double limit) => new(limit, true);

    /// <summary>Compares what is printed: two decimals.</summary>
    public bool IsMet(double value) => IsLeast ? Math.Round(value, 2) >= Limit : Math.Round(value, 2) <= Limit;
}
