namespace EfEnvelope;

/// <summary>How the response to a compromise ended. Immutable.</summary>
/// <param name="Exposure">What the keys exposed, counted before the first row was re-encrypted.</param>
/// <param name="Reencryption">How the rows were re-encrypted.</param>
/// <param name="Revoked">How many keys were revoked by this run: they open nothing any more.</param>
/// <param name="Open">Selected keys that still open, because cells name them or the cut-off was not reached; of row keys the first 1,000.</param>
/// <param name="OpenBecause">Why the response is not at its end: why keys still open, or that cells name selected keys which are refused already, or may do so where the census did not count; null at its end.</param>
public sealed record CompromiseReport(ExposureReport Exposure, ReencryptionReport Reencryption, long Revoked, IReadOnlyList<Guid> Open, string? OpenBecause)
{
    /// <summary>How many keys still open, listed or not.</summary>
    public long OpenTotal { get; init; } = Open.Count;

    /// <summary>Whether the response is at its end: no selected key seals, none is named by a cell, none opens.</summary>
    public bool IsComplete => OpenBecause is null;
}
