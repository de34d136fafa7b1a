using System.Globalization;

namespace EfEnvelope;

/// <summary>What the check of a completion report found. Immutable.</summary>
/// <param name="HashMatches">Whether its SHA-256 is that of its content.</param>
/// <param name="MacMatches">Whether its HMAC is the ring's; false also where another ring made it.</param>
/// <param name="RingMatches">Whether this database's ring made it.</param>
/// <param name="Differs">What is wrong, by the member's name; empty when the report is genuine.</param>
/// <param name="Report">The report; null unless it is genuine.</param>
public sealed record ReportVerification(bool HashMatches, bool MacMatches, bool RingMatches, IReadOnlyList<string> Differs, CompletionReport? Report)
{
    /// <summary>Whether every byte is as this ring's job wrote it. Says nothing of whether the report says PROVEN: <see cref="CompletionReport.IsProven"/>.</summary>
    public bool IsGenuine => Report is not null;

    /// <summary>The outcome in one line.</summary>
    public string ToText() => Report is not { } report
        ? $"NOT GENUINE: {string.Join(", ", Differs)}. Nothing that it says counts."
        : report.IsProven
            ? string.Create(CultureInfo.InvariantCulture, $"Genuine and proven: no cell named a stale key, counted {report.CensusTakenAt:yyyy-MM-dd HH:mm:ss}Z after the cut-off; census SHA-256 {report.CensusSha256}.")
            : $"Genuine, but NOT PROVEN: {report.NotProvenBecause}.";
}
