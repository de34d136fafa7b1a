namespace EfEnvelope;

/// <summary>What became of the scheduled destructions. Immutable.</summary>
/// <param name="Destroyed">Keys whose wrapped form is gone.</param>
/// <param name="Kept">Keys whose window is over, and that are kept nevertheless; of row keys the first 1,000.</param>
/// <param name="Waiting">How many scheduled keys are within their window.</param>
public sealed record DestructionReport(ChangedKeys Destroyed, IReadOnlyList<KeptKey> Kept, int Waiting)
{
    /// <summary>How many keys are kept, listed or not.</summary>
    public long KeptTotal { get; init; } = Kept.Count;
}
