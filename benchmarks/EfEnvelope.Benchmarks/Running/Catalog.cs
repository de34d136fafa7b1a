namespace EfEnvelope.Benchmarks.Running;

/// <summary>Every figure that the scenarios of this assembly offer, by guarantee.</summary>
internal static class Catalog
{
    public static IEnumerable<Measurement> Measurements => typeof(Catalog).Assembly.GetTypes()
        .Where(t => t is { IsAbstract: false, IsInterface: false } && t.IsAssignableTo(typeof(IScenario)))
        .OrderBy(t => t.Name, StringComparer.Ordinal)
        .SelectMany(t => ((IScenario)Activator.CreateInstance(t)!).Measurements)
        .OrderBy(m => m.Guarantee, StringComparer.Ordinal);
}
