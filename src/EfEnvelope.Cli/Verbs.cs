using System.CommandLine;
using System.Globalization;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Cli;

/// <summary>The verbs themselves.</summary>
internal sealed class Verbs(Func<DbContext> createContext, IAnsiConsole console, EventStream events)
{
    public RootCommand CreateCommand()
    {
        var scope = new Option<string?>("--scope") { Description = "global, tenant:VALUE or subject:NAME/VALUE" };
        var reason = new Option<string?>("--reason") { Description = "for the record; no personal data" };
        var job = new JobOptions();
        var cutOff = new Option<int>("--cut-off-timeout") { Description = "seconds to wait for the cut-off, 0 to 604,800; 0 leaves the proof out", DefaultValueFactory = _ => (int)new ReencryptionOptions().CutOffTimeout.TotalSeconds };

        var sample = new Option<int>("--sample") { Description = "random cells of every column to open at the end, 0 to 1,000", DefaultValueFactory = _ => new ReencryptionOptions().SampleSize };
        var report = new Option<string?>("--report") { Description = "write the completion report to a new file, as JSON, and as text beside it" };

        var status = new Command("status", "keys by scope and state");
        status.SetAction((_, cancellationToken) => StatusAsync(cancellationToken));
        var census = new Command("census", "cells per key, counted in the database; with --report a proof, after the cut-off") { report, sample, cutOff };
        census.SetAction((parsed, cancellationToken) => parsed.GetValue(report) is { } path
            ? ProveAsync(path, parsed.GetValue(sample), TimeSpan.FromSeconds(parsed.GetValue(cutOff)), cancellationToken)
            : CensusAsync(cancellationToken));
        var rotate = new Command("rotate", "a new data key for new writes") { scope, reason };
        rotate.SetAction((parsed, cancellationToken) => RotateAsync(parsed.GetValue(scope), parsed.GetValue(reason), cancellationToken));
        var planning = new PlanVerbs(createContext, console, Print);
        var reencrypt = new Command("reencrypt", "move every row off stale keys, and prove it") { cutOff, sample, report };
        foreach (var option in job.All.Concat(planning.Options))
        {
            reencrypt.Add(option);
        }

        reencrypt.SetAction(async (parsed, cancellationToken) =>
        {
            // Before anything is changed, keys too: a report that cannot be kept is found out now.
            if (parsed.GetValue(planning.DryRun) && parsed.GetValue(report) is not null)
            {
                throw new EnvelopeConfigurationException("reencrypt --dry-run proves nothing: leave --report out; the plan is printed (--json for machines). Nothing was changed.");
            }

            using var files = CompletionFiles.Open(parsed.GetValue(report));
            var (options, json) = (job.Read(parsed, parsed.GetValue(cutOff), parsed.GetValue(sample), parsed.GetValue(planning.LifetimeDays)), parsed.GetValue(job.Json));
            return await planning.PrepareAsync(parsed, options, json, cancellationToken).ConfigureAwait(false)
                ?? await ReencryptAsync(options, files, json, cancellationToken).ConfigureAwait(false);
        });
        var rewrap = new Command("rewrap", "wrap the same keys under the root key's current material");
        rewrap.SetAction((_, cancellationToken) => RewrapAsync(cancellationToken));
        var root = new RootCommand("EfEnvelope: keys and re-encryption") { status, census, rotate, reencrypt, rewrap };
        foreach (var lifecycle in new LifecycleVerbs(createContext, console, events).CreateCommands())
        {
            root.Add(lifecycle);
        }

        root.Add(new ProofVerbs(createContext, Print).CreateCommand());
        root.Add(new JobVerbs(createContext, Print).CreateCommand());
        root.Add(new DatabaseVerbs(createContext, Print).CreateCommand());
        root.Add(new ColumnVerbs(createContext, Print).CreateCommand());
        root.Add(new QuarantineVerbs(createContext, Print).CreateCommand());
        foreach (var recovery in new RecoveryVerbs(createContext, Print).CreateCommands())
        {
            root.Add(recovery);
        }

        return root;
    }

    public void Print(string text) => console.Profile.Out.Writer.WriteLine(text);

    public async Task<int> ReencryptAsync(ReencryptionOptions options, CompletionFiles files, bool json, CancellationToken cancellationToken)
    {
        if (json)
        {
            events.Start("reencrypt", options);
        }

        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            if (json)
            {
                var ended = await new EnvelopeKeys(context).ReencryptAsync(options, events, cancellationToken).ConfigureAwait(false);
                files.Write(ended.Completion);
                return events.Finish(ended, ProofVerbs.ExitCode(ended.Completion));
            }

            var report = await ProgressDisplay.RunAsync(console, progress => new EnvelopeKeys(context).ReencryptAsync(options, progress, cancellationToken)).ConfigureAwait(false);
            files.Write(report.Completion);
            Print(string.Create(CultureInfo.InvariantCulture, $"{report.Rows} row(s) re-encrypted in {report.Elapsed.TotalSeconds:0.0} s, {report.Conflicts} conflict(s), {report.Quarantined} quarantined, {report.Completion.StaleKeys.Sum(k => k.Keys)} stale key(s)."));
            foreach (var key in report.Blocked)
            {
                Print(string.Create(CultureInfo.InvariantCulture, $"Passed over: {key.Cells} cell(s) under {key.Scope}  {key.KeyId}: a key cannot be used ({key.Reason})."));
            }

            Print(report.IsProven ? "Proven: the census after the cut-off counts no cell under a stale key, and the sampled cells open." : $"Not proven: {report.NotProvenBecause}.");
            return ProofVerbs.ExitCode(report.Completion);
        }
    }

    private Task<int> StatusAsync(CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            foreach (var key in (await keys.ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false)).OrderBy(k => k.Scope, StringComparer.Ordinal).ThenBy(k => k.Purpose).ThenBy(k => k.Version))
            {
                Print(string.Create(CultureInfo.InvariantCulture, $"{key.Scope}  {key.Purpose} v{key.Version}  {key.State}  {key.Id}  {key.CreatedAt:u}{(key.DestructionDueAt is { } due ? $"  destruction due {due:u}" : "")}{(key.Reason is null ? "" : $"  ({key.Reason})")}{(key.RootKeyId is null ? "" : $"  under {key.RootKeyId}")}"));
            }

            if (await keys.CountRowKeysAsync(cancellationToken).ConfigureAwait(false) is { Count: > 0 } rowKeys)
            {
                Print($"row keys: {string.Join(", ", rowKeys.OrderBy(k => k.Key).Select(k => string.Create(CultureInfo.InvariantCulture, $"{k.Value} {k.Key}")))}");
            }

            return EnvelopeCommandLine.Proven;
        });

    private Task<int> CensusAsync(CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            var census = await keys.TakeCensusAsync(cancellationToken).ConfigureAwait(false);
            foreach (var entry in census.Entries)
            {
                var key = entry.KeyId?.ToString() ?? (entry.Keys == 0 ? "not an envelope" : string.Create(CultureInfo.InvariantCulture, $"{entry.Keys} {(entry.KekId is { } kek ? $"row key(s) under {kek}, {entry.KekState?.ToString() ?? "unknown"}" : "further id(s)")}"));
                Print($"{entry.Table}.{entry.Column}  {key}  {entry.State?.ToString() ?? "unknown key"}  {entry.Cells}");
            }

            Print($"{census.Cells} cell(s), {census.StaleCells} under stale keys");
            foreach (var database in census.OtherDatabases)
            {
                Print($"not counted: database {database}, which the ring serves too");
            }

            foreach (var column in census.MissingColumns)
            {
                Print($"not found: column {column.Table}.{column.Column}, which the ring lists");
            }

            return EnvelopeCommandLine.Proven;
        });

    private async Task<int> ProveAsync(string path, int sample, TimeSpan cutOffTimeout, CancellationToken cancellationToken)
    {
        using var files = CompletionFiles.Open(path);
        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            var report = await new EnvelopeKeys(context) { CutOffTimeout = cutOffTimeout }.ReportCensusAsync(sample, cancellationToken).ConfigureAwait(false);
            files.Write(report);
            Print(report.ToText().TrimEnd());
            return ProofVerbs.ExitCode(report);
        }
    }

    private Task<int> RotateAsync(string? scope, string? reason, CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            foreach (var key in await keys.RotateAsync(EnvelopeScope.Parse(Required(scope, "--scope")), reason, cancellationToken).ConfigureAwait(false))
            {
                Print($"{key.Scope}: {key.Purpose} key v{key.Version} {key.Id} is active. Run `envelope reencrypt` to move its rows.");
            }

            return EnvelopeCommandLine.Proven;
        });

    private Task<int> RewrapAsync(CancellationToken cancellationToken)
        => WithKeysAsync(async keys =>
        {
            Print($"{await keys.RewrapAsync(cancellationToken).ConfigureAwait(false)} key(s) rewrapped; no row was touched.");
            return EnvelopeCommandLine.Proven;
        });

    private async Task<int> WithKeysAsync(Func<EnvelopeKeys, Task<int>> verb)
    {
        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            return await verb(new EnvelopeKeys(context)).ConfigureAwait(false);
        }
    }

    private static string Required(string? value, string name) => value ?? throw new EnvelopeConfigurationException($"{name} is missing.");
}
