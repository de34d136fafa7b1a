using System.Text.Json.Serialization;
using EfEnvelope.Proof;

namespace EfEnvelope;

/// <summary>
/// The proof that a re-encryption leaves behind: what was treated, when sealing ended, what every encrypted column holds since, and which sampled cells open. Immutable. Names keys, scopes, tables and columns, never a value, a primary
/// key, key bytes or a credential. Hashed member by member and as a whole, and authenticated under the ring's mac key: <see cref="EnvelopeKeys.VerifyReportAsync"/> checks it. The form is documented in docs/reencryption.md.
/// </summary>
/// <remarks>Times are UTC. Row keys are counted together, by the scope above them and their state: there may be millions.</remarks>
public sealed record CompletionReport
{
    /// <summary>The form that this version writes and reads.</summary>
    public const string CurrentFormat = "EfEnvelope/completion-report/v1";

    /// <summary>The form of the document: <see cref="CurrentFormat"/>.</summary>
    public required string Format { get; init; }

    /// <summary>What the report is about.</summary>
    public required CompletionKind Kind { get; init; }

    /// <summary>The version of EfEnvelope that made it.</summary>
    public required string LibraryVersion { get; init; }

    /// <summary>The version of the envelopes in the columns.</summary>
    public required int EnvelopeVersion { get; init; }

    /// <summary>The key ring whose mac key authenticates the report.</summary>
    public required Guid RingId { get; init; }

    /// <summary>EF Core's name of the database provider.</summary>
    public required string Provider { get; init; }

    /// <summary>The database's name; for SQLite the file's, without its folder.</summary>
    public required string Database { get; init; }

    /// <summary>The job; <see cref="Guid.Empty"/> when nothing was stale, and for a census.</summary>
    public required Guid JobId { get; init; }

    /// <summary>When the run began.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When the report was made.</summary>
    public required DateTimeOffset FinishedAt { get; init; }

    /// <summary>How long the run took by the process's own clock, in whole milliseconds.</summary>
    public required long ElapsedMilliseconds { get; init; }

    /// <summary>The keys that rows had to leave; for a census, those that were retired and are not destroyed. Compromised ones first, then the oldest.</summary>
    public required IReadOnlyList<TreatedKey> StaleKeys { get; init; }

    /// <summary>Rows that this run rewrote.</summary>
    public required long Rows { get; init; }

    /// <summary>Rows that the application wrote at the same time as this run, and that were visited again.</summary>
    public required long Conflicts { get; init; }

    /// <summary>Rows that all processes rewrote, earlier runs and killed ones too, in the jobs that this run worked on.</summary>
    public required long JobRows { get; init; }

    /// <summary>Conflicts of all processes in the jobs that this run worked on.</summary>
    public required long JobConflicts { get; init; }

    /// <summary>Cells that could not be opened and still name a stale key.</summary>
    public required long Quarantined { get; init; }

    /// <summary>Keys whose cells were left where they are because a key cannot be used; null, and no member of the document, where there is none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<BlockedKey>? Blocked { get; init; }

    /// <summary>Batches that this run committed.</summary>
    public required long Batches { get; init; }

    /// <summary>Rows a second over the whole run, the wait for the cut-off included; rounded.</summary>
    public required long RowsPerSecond { get; init; }

    /// <summary>When the stale keys stopped sealing, and whether everything older was waited for.</summary>
    public required CompletionCutOff CutOff { get; init; }

    /// <summary>When the census began: after the cut-off, where that was reached.</summary>
    public required DateTimeOffset CensusTakenAt { get; init; }

    /// <summary>How many cells name which key, by table, column and key.</summary>
    public required IReadOnlyList<CountedCells> Census { get; init; }

    /// <summary>Every encrypted column, with the outcome of opening random cells of it.</summary>
    public required IReadOnlyList<SampledColumn> Sample { get; init; }

    /// <summary>Sampled cells that did not open.</summary>
    public required IReadOnlyList<SampleFailure> SampleFailures { get; init; }

    /// <summary>Whether no cell names a stale key, counted after the cut-off, and every sampled cell opened.</summary>
    public required bool IsProven { get; init; }

    /// <summary>Why not; null when it is proven.</summary>
    public required string? NotProvenBecause { get; init; }

    /// <summary>The SHA-256 (lower-case hexadecimal) of each member's canonical JSON, by the member's name.</summary>
    public required IReadOnlyDictionary<string, string> Digests { get; init; }

    /// <summary>The SHA-256 (lower-case hexadecimal) of the canonical JSON of all of the above.</summary>
    public required string Sha256 { get; init; }

    /// <summary>HMAC-SHA-256 (lower-case hexadecimal) of the same under the ring's mac key.</summary>
    public required string Hmac { get; init; }

    /// <summary>The SHA-256 (lower-case hexadecimal) of the census's canonical JSON.</summary>
    [JsonIgnore]
    public string CensusSha256 => Digests.GetValueOrDefault("census", "");

    /// <summary>The report as canonical JSON (RFC 8785): one line, the same bytes for the same report on every machine and in every culture. This is the form that is verified.</summary>
    public string ToJson() => CanonicalReport.Write(this);

    /// <summary>The report for people: plain lines in English, times in UTC. Not the form that is verified.</summary>
    public string ToText() => ReportText.Write(this);
}
