namespace EfEnvelope;

/// <summary>What became of the scheduled destructions.</summary>
/// <param name="Destroyed">Keys whose wrapped form is gone.</param>
/// <param name="Kept">Keys whose window is over, and that are kept nevertheless.</param>
/// <param name="Waiting">How many scheduled keys are within their window.</param>
public sealed record DestructionReport(IReadOnlyList<KeyInfo> Destroyed, IReadOnlyList<KeptKey> Kept, int Waiting);

/// <summary>A key that is not destroyed although its window is over.</summary>
/// <param name="Key">The key.</param>
/// <param name="Cells">Cells that name it.</param>
/// <param name="Because">Why, and what to do.</param>
public sealed record KeptKey(KeyInfo Key, long Cells, string Because);
