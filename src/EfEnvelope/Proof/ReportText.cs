using System.Globalization;
using System.Text;

namespace EfEnvelope.Proof;

/// <summary>A completion report in plain lines, for an auditor.</summary>
internal static class ReportText
{
    public static string Write(CompletionReport report)
    {
        var text = new StringBuilder();
        var isJob = report.Kind == CompletionKind.Reencryption;
        Line($"{(isJob ? "Completion report of a re-encryption" : "Census report")}: {(report.IsProven ? "PROVEN" : "NOT PROVEN")}");
        if (report.NotProvenBecause is { } why)
        {
            Line($"  because {why}");
        }

        Line($"  database {report.Database} ({report.Provider}), key ring {report.RingId}");
        Line($"  EfEnvelope {report.LibraryVersion}, envelope format v{report.EnvelopeVersion}, {report.Format}");
        Line($"  began {Time(report.StartedAt)}, ended {Time(report.FinishedAt)}");
        if (isJob)
        {
            Line($"Job {report.JobId}");
            Line($"  {report.Rows} row(s) in {report.Batches} batch(es) by this run, {report.ElapsedMilliseconds / 1000.0:0.0} s, {report.RowsPerSecond} rows/s");
            Line($"  {report.JobRows} row(s) by all processes, {report.JobConflicts} conflict(s)");
            Line($"  {report.Conflicts} conflict(s) of this run: rows that the application wrote meanwhile; its values stand");
            Line($"  {report.Quarantined} cell(s) in quarantine");
            foreach (var key in report.Blocked ?? [])
            {
                Line($"  PASSED OVER: {key.Cells} cell(s) under {key.Scope}  {key.KeyId}: a key cannot be used ({key.Reason})");
            }
        }

        Line($"{(isJob ? "Keys that rows had to leave" : "Retired keys")}: {report.StaleKeys.Sum(k => k.Keys)}");
        foreach (var key in report.StaleKeys)
        {
            Line($"  {key.Scope}  {key.Id?.ToString() ?? string.Create(CultureInfo.InvariantCulture, $"{key.Keys} row key(s)")}  {key.State}: {key.Why}{(key.Reason is null ? "" : $" ({key.Reason})")}  created {Time(key.CreatedAt)}, retired {(key.RetiredAt is null ? "with the key that wraps it" : Time(key.RetiredAt))}");
        }

        var cutOff = report.CutOff;
        Line($"Cut-off: {(cutOff.IsReached ? "reached" : "NOT REACHED")}");
        Line($"  sealing stopped {Time(cutOff.SealingStoppedAt)}, sealing lease {cutOff.SealingLeaseMilliseconds / 1000.0:0.0} s, waited {cutOff.WaitedMilliseconds / 1000.0:0.0} s");
        Line($"  waited for: {cutOff.WaitedFor}");
        if (cutOff.NotReachedBecause is { } notReached)
        {
            Line($"  not reached because {notReached}");
        }

        Line($"Census of {Time(report.CensusTakenAt)}: {report.Census.Sum(c => c.Cells)} cell(s) in {report.Sample.Count} encrypted column(s), {report.Census.Where(c => c.State is { } state && EnvelopeCensus.IsStale(state)).Sum(c => c.Cells)} under keys in a retired state");
        foreach (var cells in report.Census)
        {
            Line($"  {cells.Table}.{cells.Column}  {Key(cells)}  {cells.Cells} cell(s)");
        }

        if (report.Census.Where(c => c is { State: null, Keys: > 0 }).Sum(c => c.Cells) is > 0 and var unknown)
        {
            Line($"  UNKNOWN: {unknown} cell(s) name keys that the ring does not hold: nothing is proven while they do");
        }

        if (report.Census.Where(c => c is { State: null, Keys: 0 }).Sum(c => c.Cells) is > 0 and var foreign)
        {
            Line($"  NOTE: {foreign} cell(s) are no envelopes; the proof says nothing of them");
        }

        Line($"Sampled opening: {report.Sample.Sum(s => s.Opened)} of {report.Sample.Sum(s => s.Sampled)} random cell(s) opened, {report.Sample.Sum(s => s.Erased)} erased, {report.SampleFailures.Count} failed");
        foreach (var column in report.Sample)
        {
            Line($"  {column.Table}.{column.Column}  {column.Opened} of {column.Sampled} opened, of {column.Cells} cell(s){(column.Erased > 0 ? string.Create(CultureInfo.InvariantCulture, $", {column.Erased} erased") : "")}");
        }

        foreach (var failure in report.SampleFailures)
        {
            Line($"  FAILED: {failure.Table}.{failure.Column}  key {failure.KeyId?.ToString() ?? "unknown"}  {failure.Error}");
        }

        Line($"Census SHA-256 {report.CensusSha256}");
        Line($"Report SHA-256 {report.Sha256}");
        Line($"Report HMAC    {report.Hmac}");
        Line($"Check the JSON form with `envelope verify-report FILE`. Copies elsewhere (backups, replicas, exports) are not counted.");
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    private static string Key(CountedCells cells)
        => cells.KeyId is { } id ? $"{cells.Scope ?? "unknown key"}  {id}  {cells.State?.ToString() ?? "not in the ring"}"
            : cells is { Scope: null, Keys: > 0 } ? string.Create(CultureInfo.InvariantCulture, $"{cells.Keys} further key id(s)  not in the ring")
            : cells.Scope is { } scope ? string.Create(CultureInfo.InvariantCulture, $"{scope}  {cells.Keys} row key(s)  {cells.State}")
            : "not an envelope";

    private static string Time(DateTimeOffset? time) => time is { } known ? known.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture) : "never";
}
