namespace EfEnvelope;

/// <summary>How a re-encryption job ended. Immutable.</summary>
/// <param name="JobId">The job; <see cref="Guid.Empty"/> when nothing was stale.</param>
/// <param name="StaleKeys">The keys that rows had to leave; of row keys the keks that they are under.</param>
/// <param name="Rows">Rows rewritten by this run.</param>
/// <param name="Conflicts">Rows that the application wrote at the same time, and that were visited again.</param>
/// <param name="Quarantined">Cells that could not be opened and still name a stale key.</param>
/// <param name="Elapsed">Duration of this run.</param>
/// <param name="Census">The final census.</param>
/// <param name="IsProven">Whether no cell names a stale key, counted after the cut-off, and every sampled cell opened.</param>
/// <param name="NotProvenBecause">Why not; null when it is proven.</param>
public sealed record ReencryptionReport(
    Guid JobId, IReadOnlyList<Guid> StaleKeys, long Rows, long Conflicts, long Quarantined, TimeSpan Elapsed, EnvelopeCensus Census, bool IsProven, string? NotProvenBecause)
{
    /// <summary>The same as a document that can be kept and checked: with the cut-off, the sampled opening, hashes, and an HMAC under the ring's mac key.</summary>
    public required CompletionReport Completion { get; init; }

    /// <summary>Keys whose cells were left where they are, all together, because a key cannot be used; empty where there is none. Let the key service permit, or restore the ring's row, and run the job again.</summary>
    public IReadOnlyList<BlockedKey> Blocked { get; init; } = [];
}
