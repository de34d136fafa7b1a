namespace EfEnvelope;

/// <summary>What became of quarantined cells that were tried again. Immutable.</summary>
/// <param name="Moved">Cells that open now, and were re-encrypted.</param>
/// <param name="Gone">Cells that no longer name a stale key: the application rewrote or deleted them.</param>
/// <param name="Kept">Cells that still do not open, with the reason of this attempt.</param>
public sealed record QuarantineRetryReport(int Moved, int Gone, IReadOnlyList<QuarantinedCell> Kept);
