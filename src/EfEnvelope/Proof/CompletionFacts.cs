using EfEnvelope.Keys;

namespace EfEnvelope.Proof;

/// <summary>What a run knows at its end; the rest of its report is found in the database.</summary>
internal sealed record CompletionFacts
{
    public required CompletionKind Kind { get; init; }

    public Guid JobId { get; init; }

    public required DateTimeOffset StartedAt { get; init; }

    public required TimeSpan Elapsed { get; init; }

    /// <summary>The keys of scopes that rows had to leave, as they were then.</summary>
    public required IReadOnlyCollection<KeyRingEntry> StaleKeys { get; init; }

    /// <summary>The row keys that rows had to leave, as they were then.</summary>
    public required IReadOnlyCollection<RowKeySum> StaleRowKeys { get; init; }

    public long Rows { get; init; }

    public long Conflicts { get; init; }

    public long Quarantined { get; init; }

    public IReadOnlyList<BlockedKey> Blocked { get; init; } = [];

    public long JobRows { get; init; }

    public long JobConflicts { get; init; }

    public long Batches { get; init; }

    public required CompletionCutOff CutOff { get; init; }

    public required EnvelopeCensus Census { get; init; }

    /// <summary>An epoch of the ring: every key that was retired by then is out of use in this database where nothing is against the proof.</summary>
    public required long Epoch { get; init; }

    /// <summary>Why the census proves nothing of this database; null when it does.</summary>
    public required string? NotProvenBecause { get; init; }

    /// <summary>Random cells to open of each column.</summary>
    public required int SampleSize { get; init; }
}
