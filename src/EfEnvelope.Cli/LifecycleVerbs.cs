using System.CommandLine;
using System.Globalization;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Cli;

/// <summary><c>compromise</c>, <c>revoke</c>, <c>destroy</c>, <c>cancel-destruction</c> and <c>erase</c>: the ends that a key can come to.</summary>
internal sealed class LifecycleVerbs(Func<DbContext> createContext, IAnsiConsole console, EventStream events)
{
    private readonly Option<Guid?> _key = new("--key") { Description = "a key id" };
    private readonly Option<string?> _scope = new("--scope") { Description = "global, tenant:VALUE or subject:NAME/VALUE" };
    private readonly Option<string?> _reason = new("--reason") { Description = "for the record; no personal data" };

    public IEnumerable<Command> CreateCommands()
    {
        yield return CreateCompromise();

        var revoke = new Command("revoke", "refuse a key that no row names any more") { _key, _reason };
        revoke.SetAction((parsed, cancellationToken) => RevokeAsync(Key(parsed), parsed.GetValue(_reason), cancellationToken));
        yield return revoke;

        var window = new Option<double>("--window-days") { Description = "how long it can be brought back, 7 to 365", DefaultValueFactory = _ => EnvelopeKeys.DefaultDestructionWindow.TotalDays };
        var due = new Option<bool>("--due") { Description = "destroy the scheduled keys whose window is over" };
        var destroy = new Command("destroy", "schedule the destruction of a key that no row names, or carry out those that are due") { _key, _reason, window, due };
        destroy.SetAction((parsed, cancellationToken) => parsed.GetValue(due)
            ? parsed.GetValue(_key) is not null ? throw new EnvelopeConfigurationException("destroy takes --key ID (schedules it) or --due (carries out what is due), not both.")
                : parsed.GetValue(_reason) is not null || parsed.GetResult(window) is { Implicit: false } ? throw new EnvelopeConfigurationException("destroy --due takes no --reason and no --window-days: both were said when the destruction was scheduled. Nothing was changed.")
                : DestroyDueAsync(cancellationToken)
            : ScheduleAsync(Key(parsed), parsed.GetValue(_reason), parsed.GetValue(window), cancellationToken));
        yield return destroy;

        var cancel = new Command("cancel-destruction", "bring a key back whose destruction is scheduled") { _key, _reason };
        cancel.SetAction((parsed, cancellationToken) => CancelAsync(Key(parsed), parsed.GetValue(_reason), cancellationToken));
        yield return cancel;

        var confirm = new Option<string?>("--confirm") { Description = "the scope once more" };
        var erase = new Command("erase", "destroy a tenant's or subject's keys at once: its values can never be read again") { _scope, _reason, confirm };
        erase.SetAction((parsed, cancellationToken) => EraseAsync(parsed.GetValue(_scope), parsed.GetValue(confirm), parsed.GetValue(_reason), cancellationToken));
        yield return erase;
    }

    /// <summary>ISO 8601 alone: 05/06 is a day in May to some and in June to others.</summary>
    private static string[] Times => ["yyyy-MM-dd", "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", "yyyy-MM-dd HH:mm:ssK"];

    private Command CreateCompromise()
    {
        var defaults = new ReencryptionOptions();
        var kmsKey = new Option<string?>("--kms-key") { Description = "everything that this root key (ARN) wraps" };
        var before = new Option<string?>("--created-before") { Description = "every key made before a time, as 2026-11-24T03:00:00Z" };
        var dryRun = new Option<bool>("--dry-run") { Description = "say what would be exposed; change nothing" };
        var markOnly = new Option<bool>("--mark-only") { Description = "stop sealing and make new keys, no more" };
        var report = new Option<string?>("--report") { Description = "write the exposure report to a new file, as JSON" };
        var proof = new Option<string?>("--proof") { Description = "write the re-encryption's completion report to a new file, as JSON, and as text beside it" };
        var by = new Option<string?>("--by") { Description = "who reports, for the record" };
        var job = new JobOptions();
        var cutOff = new Option<int>("--cut-off-timeout") { Description = "seconds to wait for the cut-off, 0 to 604,800; 0 leaves the proof out", DefaultValueFactory = _ => (int)defaults.CutOffTimeout.TotalSeconds };
        var compromise = new Command("compromise", "stop sealing with keys at once, re-encrypt their rows, say what was exposed, and refuse the keys")
        {
            _key, _scope, kmsKey, before, _reason, by, dryRun, markOnly, report, proof, cutOff,
        };
        foreach (var option in job.All)
        {
            compromise.Add(option);
        }

        compromise.SetAction((parsed, cancellationToken) =>
        {
            RefuseIdle(parsed.GetValue(dryRun), parsed.GetValue(markOnly), parsed.GetValue(report), parsed.GetValue(proof));
            var selection = Select(parsed.GetValue(_key), parsed.GetValue(_scope), parsed.GetValue(kmsKey), parsed.GetValue(before));
            var options = new CompromiseOptions
            {
                ReportedBy = parsed.GetValue(by),
                Reencryption = job.Read(parsed, parsed.GetValue(cutOff), defaults.SampleSize),
            };
            return WithKeysAsync(keys => parsed.GetValue(dryRun) ? PreviewAsync(keys, selection, parsed.GetValue(report), parsed.GetValue(job.Json), cancellationToken)
                : parsed.GetValue(markOnly) ? MarkAsync(keys, selection, Required(parsed.GetValue(_reason), "--reason"), options, parsed.GetValue(job.Json), cancellationToken)
                : CompromiseAsync(keys, selection, Required(parsed.GetValue(_reason), "--reason"), options, parsed.GetValue(report), parsed.GetValue(proof), parsed.GetValue(job.Json), cancellationToken));
        });
        return compromise;
    }

    /// <summary>A file that nobody writes would be missed when it is too late.</summary>
    private static void RefuseIdle(bool dryRun, bool markOnly, string? report, string? proof)
    {
        var idle = dryRun && markOnly ? "--dry-run changes nothing, and --mark-only does: name one of them"
            : markOnly && (report ?? proof) is not null ? "--mark-only writes no report: leave --report and --proof for the command without it"
            : dryRun && proof is not null ? "--dry-run proves nothing: leave --proof out; --report writes what would be exposed"
            : null;
        if (idle is not null)
        {
            throw new EnvelopeConfigurationException($"compromise {idle}. Nothing was changed.");
        }
    }

    private static KeySelection Select(Guid? key, string? scope, string? kmsKey, string? before)
    {
        if ((key is null ? 0 : 1) + (scope is null ? 0 : 1) + (kmsKey is null ? 0 : 1) + (before is null ? 0 : 1) != 1)
        {
            throw new EnvelopeConfigurationException("compromise needs exactly one of --key ID, --scope SCOPE, --kms-key ARN, --created-before TIME. Nothing was changed.");
        }

        return key is { } id ? KeySelection.Key(id)
            : scope is not null ? KeySelection.Scope(EnvelopeScope.Parse(scope))
            : kmsKey is not null ? KeySelection.KmsKey(kmsKey)
            : KeySelection.CreatedBefore(DateTimeOffset.TryParseExact(before, Times, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
                ? time
                : throw new EnvelopeConfigurationException($"--created-before: '{before}' is no time. Write it as 2026-11-24T03:00:00Z (without an offset it is UTC) or 2026-11-24. Nothing was changed."));
    }

    private async Task<int> PreviewAsync(EnvelopeKeys keys, KeySelection selection, string? path, bool json, CancellationToken cancellationToken)
    {
        using var file = ReportFile.Open(path);
        var exposure = await keys.PreviewCompromiseAsync(selection, cancellationToken).ConfigureAwait(false);
        Print(json ? exposure.ToJson() : exposure.ToText().TrimEnd());
        file?.Write(exposure.ToJson());
        return EnvelopeCommandLine.Proven;
    }

    private async Task<int> MarkAsync(EnvelopeKeys keys, KeySelection selection, string reason, CompromiseOptions options, bool json, CancellationToken cancellationToken)
    {
        const string next = "Repeat without --mark-only to re-encrypt their rows and to refuse them.";
        if (json)
        {
            events.Start("compromise", options.Reencryption);
            return events.Mark(await keys.ReportCompromisedAsync(selection, reason, options.ReportedBy, cancellationToken).ConfigureAwait(false), next);
        }

        var marked = await keys.ReportCompromisedAsync(selection, reason, options.ReportedBy, cancellationToken).ConfigureAwait(false);
        Print($"{marked.Total} key(s) marked compromised: they seal nothing any more, and new ones took over. {next}");
        return EnvelopeCommandLine.Proven;
    }

    private async Task<int> CompromiseAsync(EnvelopeKeys keys, KeySelection selection, string reason, CompromiseOptions options, string? path, string? proof, bool json, CancellationToken cancellationToken)
    {
        if (json)
        {
            events.Start("compromise", options.Reencryption);
        }

        // Before anything is changed: a report that cannot be kept is found out now.
        using var file = ReportFile.Open(path);
        using var files = CompletionFiles.Open(proof);
        options = options with
        {
            OnExposure = (exposure, _) =>
            {
                file?.Write(exposure.ToJson());
                if (json)
                {
                    events.Exposure(exposure.ToJson());
                }
                else
                {
                    PrintAside(exposure.ToText().TrimEnd());
                }

                return Task.CompletedTask;
            },
        };
        CompromiseReport whole;
        if (json)
        {
            whole = await keys.CompromiseAsync(selection, reason, options, events, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            CompromiseReport? ended = null;
            await ProgressDisplay.RunAsync(console, async progress =>
            {
                ended = await keys.CompromiseAsync(selection, reason, options, progress, cancellationToken).ConfigureAwait(false);
                return ended.Reencryption;
            }).ConfigureAwait(false);
            whole = ended!;
            Print(string.Create(CultureInfo.InvariantCulture, $"{whole.Reencryption.Rows} row(s) re-encrypted in {whole.Reencryption.Elapsed.TotalSeconds:0.0} s, {whole.Reencryption.Conflicts} conflict(s), {whole.Reencryption.Quarantined} quarantined."));
            Print(whole.IsComplete
                ? $"Complete: {whole.Revoked} key(s) revoked. No cell names the selected keys; they neither seal nor open."
                : $"Not complete: {whole.OpenBecause}. {whole.OpenTotal} key(s) still open, none seals. Run the same command again{(path is null && proof is null ? "" : ", with new names for the reports")}.");
        }

        files.Write(whole.Reencryption.Completion);
        var exitCode = whole.IsComplete ? EnvelopeCommandLine.Proven : whole.Reencryption.Quarantined > 0 ? EnvelopeCommandLine.Quarantined : EnvelopeCommandLine.Stopped;
        return json ? events.Finish(whole, exitCode) : exitCode;
    }

    private Task<int> RevokeAsync(Guid key, string? reason, CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            var info = await keys.RevokeAsync(key, reason, cancellationToken).ConfigureAwait(false);
            Print($"Key {info.Id} of {info.Scope} is revoked: it opens nothing any more.");
            return EnvelopeCommandLine.Proven;
        });

    private Task<int> ScheduleAsync(Guid key, string? reason, double days, CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            if (days is not (>= 0 and < 1e6))
            {
                throw new EnvelopeConfigurationException("--window-days: write a number of days, 7 to 365. Nothing was changed.");
            }

            var info = await keys.DestroyAsync(key, reason, TimeSpan.FromDays(days), cancellationToken).ConfigureAwait(false);
            Print(string.Create(CultureInfo.InvariantCulture, $"Key {info.Id} of {info.Scope} is scheduled for destruction on {info.DestructionDueAt:u}. It neither seals nor opens; `envelope cancel-destruction --key {info.Id}` brings it back until `envelope destroy --due` runs after that time."));
            return EnvelopeCommandLine.Proven;
        });

    private Task<int> DestroyDueAsync(CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            var report = await keys.DestroyDueAsync(cancellationToken).ConfigureAwait(false);
            foreach (var key in report.Destroyed)
            {
                Print($"Key {key.Id} of {key.Scope} is destroyed.");
            }

            foreach (var kept in report.Kept)
            {
                Print($"Key {kept.Key.Id} of {kept.Key.Scope} is kept: {kept.Because}.");
            }

            Print($"{report.Destroyed.Total} key(s) destroyed, {report.KeptTotal} kept, {report.Waiting} within their window.");
            return report.KeptTotal == 0 ? EnvelopeCommandLine.Proven : EnvelopeCommandLine.Stopped;
        });

    private Task<int> CancelAsync(Guid key, string? reason, CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            var info = await keys.CancelDestructionAsync(key, reason, cancellationToken).ConfigureAwait(false);
            Print($"The destruction of key {info.Id} of {info.Scope} is cancelled: it is {info.State} again.");
            return EnvelopeCommandLine.Proven;
        });

    private Task<int> EraseAsync(string? scope, string? confirmed, string? reason, CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            var erased = EnvelopeScope.Parse(Required(scope, "--scope"));
            if (confirmed != erased.Value)
            {
                throw new EnvelopeConfigurationException($"erase cannot be undone: repeat the scope with --confirm {erased.Value}. Nothing was changed.");
            }

            var gone = await keys.EraseAsync(erased, Required(reason, "--reason"), cancellationToken).ConfigureAwait(false);
            Print($"{erased.Value} is erased: {gone.Total} key(s) destroyed. Every process refuses its values within the sealing lease.");
            return EnvelopeCommandLine.Proven;
        });

    private void Print(string text) => console.Profile.Out.Writer.WriteLine(text);

    /// <summary>Beside a live display the console itself has to make room.</summary>
    private void PrintAside(string text)
    {
        if (console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi)
        {
            console.WriteLine(text);
        }
        else
        {
            Print(text);
        }
    }

    private async Task<int> WithKeysAsync(Func<EnvelopeKeys, Task<int>> verb)
    {
        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            return await verb(new EnvelopeKeys(context)).ConfigureAwait(false);
        }
    }

    private Guid Key(ParseResult parsed) => parsed.GetValue(_key) ?? throw new EnvelopeConfigurationException("--key ID is missing.");

    private static string Required(string? value, string name)
        => string.IsNullOrWhiteSpace(value) ? throw new EnvelopeConfigurationException($"{name} is missing. Nothing was changed.") : value;
}
