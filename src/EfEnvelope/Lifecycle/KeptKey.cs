namespace EfEnvelope;

/// <summary>A key that is not destroyed although its window is over. Immutable.</summary>
/// <param name="Key">The key.</param>
/// <param name="Cells">Cells that name it; 0 where they were not counted, or only together with those of other row keys.</param>
/// <param name="Because">Why, and what to do.</param>
public sealed record KeptKey(KeyInfo Key, long Cells, string Because);
