using System.Text.Json;
using System.Text.Json.Serialization;

namespace EfEnvelope.Cli;

/// <summary>
/// Events for machines: one JSON object a line, and nothing else on standard output. <c>started</c>, <c>progress</c> (at most one a second), <c>quarantined</c>, <c>exposure</c>, <c>finished</c> (always the last).
/// Members are only ever added; <see cref="Schema"/> moves when one changes its meaning. Never a value or a row's key. Thread safe.
/// </summary>
internal sealed class EventStream(TextWriter writer, TimeProvider time) : IProgress<ReencryptionProgress>
{
    public const int Schema = 1;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { DefaultIgnoreCondition = JsonIgnoreCondition.Never };

    private readonly Lock _gate = new();
    private long _last;
    private long _done;
    private long _quarantined;

    public void Start(string verb, ReencryptionOptions options)
        => Write(new
        {
            Event = "started", Schema, At = Now, Verb = verb, options.BatchSize, options.DegreeOfParallelism, options.UnitSize, options.MaxRowsPerSecond,
            PauseMilliseconds = (long)options.Pause.TotalMilliseconds, UnitLeaseSeconds = options.UnitLease.TotalSeconds, CutOffTimeoutSeconds = options.CutOffTimeout.TotalSeconds, options.SampleSize,
            Window = options.Window?.ToString(), options.MaxReplicaLagBytes, StopGraceSeconds = options.StopGrace.TotalSeconds, KeyLifetimeDays = options.KeyLifetime.TotalDays,
        });

    public void Report(ReencryptionProgress value)
    {
        lock (_gate)
        {
            // Workers report from their own threads: a late one takes nothing back.
            if (value.Quarantined > _quarantined)
            {
                Write(new { Event = "quarantined", At = Now, value.Table, Cells = value.Quarantined - _quarantined, Total = value.Quarantined });
                _quarantined = value.Quarantined;
            }

            if (value.Done < _done || (_last != 0 && time.GetElapsedTime(_last) < Interval))
            {
                return;
            }

            (_last, _done) = (time.GetTimestamp(), value.Done);
            Write(new { Event = "progress", At = Now, value.Table, value.Done, value.ToDo, RowsPerSecond = Math.Round(value.RowsPerSecond, 1), SecondsLeft = value.TimeLeft is { } left ? Math.Round(left.TotalSeconds, 1) : (double?)null, value.Conflicts, value.Quarantined, value.Blocked });
        }
    }

    public void Exposure(string json)
    {
        using var document = JsonDocument.Parse(json);
        Write(new { Event = "exposure", At = Now, Report = document.RootElement });
    }

    /// <summary>Keys that were marked compromised, without their rows being treated. Row keys are counted only: there may be millions.</summary>
    public int Mark(ChangedKeys keys, string next)
    {
        var scopes = keys.Where(k => !k.Scope.StartsWith("row:", StringComparison.Ordinal)).ToList();
        Write(new { Event = "marked", At = Now, Keys = scopes.Select(k => new { k.Id, k.Scope, Purpose = k.Purpose.ToString(), k.Version, State = k.State.ToString() }), RowKeys = keys.RowKeys });
        Write(new { Event = "finished", At = Now, ExitCode = EnvelopeCommandLine.Proven, Outcome = "marked", IsProven = false, NotProvenBecause = next });
        return EnvelopeCommandLine.Proven;
    }

    /// <summary>The end of a job that came to one.</summary>
    public int Finish(ReencryptionReport report, int exitCode)
    {
        Write(new
        {
            Event = "finished", At = Now, ExitCode = exitCode, Outcome = Outcome(exitCode), report.IsProven, report.NotProvenBecause, report.JobId, report.Rows, report.Conflicts, report.Quarantined, report.Blocked,
            StaleKeys = report.Completion.StaleKeys.Sum(k => k.Keys), ElapsedMilliseconds = (long)report.Elapsed.TotalMilliseconds, ReportSha256 = report.Completion.Sha256,
        });
        return exitCode;
    }

    /// <summary>The end of a compromise.</summary>
    public int Finish(CompromiseReport whole, int exitCode)
    {
        var report = whole.Reencryption;
        Write(new
        {
            Event = "finished", At = Now, ExitCode = exitCode, Outcome = whole.IsComplete ? "complete" : Outcome(exitCode), report.IsProven, report.NotProvenBecause, report.JobId, report.Rows, report.Conflicts, report.Quarantined, report.Blocked,
            StaleKeys = report.Completion.StaleKeys.Sum(k => k.Keys), ElapsedMilliseconds = (long)report.Elapsed.TotalMilliseconds, ReportSha256 = report.Completion.Sha256, whole.IsComplete, whole.OpenBecause, whole.Revoked, whole.Open, whole.OpenTotal,
        });
        return exitCode;
    }

    /// <summary>The end of a verb that stopped or failed.</summary>
    public int Finish(int exitCode, string message, string? error = null)
    {
        Write(new { Event = "finished", At = Now, ExitCode = exitCode, Outcome = Outcome(exitCode), IsProven = false, NotProvenBecause = message, Error = error });
        return exitCode;
    }

    private DateTimeOffset Now => time.GetUtcNow();

    private static string Outcome(int exitCode) => exitCode switch
    {
        EnvelopeCommandLine.Proven => "proven",
        EnvelopeCommandLine.BadInput => "badInput",
        EnvelopeCommandLine.Quarantined => "quarantined",
        EnvelopeCommandLine.Stopped => "stopped",
        _ => "failed",
    };

    private void Write<T>(T line)
    {
        lock (_gate)
        {
            writer.WriteLine(JsonSerializer.Serialize(line, Json));
            writer.Flush();
        }
    }
}
