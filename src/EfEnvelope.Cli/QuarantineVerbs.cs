using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>quarantine list</c>, <c>retry</c> and <c>release</c>: cells that a job could not open.</summary>
internal sealed class QuarantineVerbs(Func<DbContext> createContext, Action<string> print)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public Command CreateCommand()
    {
        var json = new Option<bool>("--json") { Description = "print JSON instead of lines" };
        var ids = new Option<Guid[]>("--id") { Description = "entries, as `quarantine list` shows them; without it all", AllowMultipleArgumentsPerToken = true };
        var named = new Option<Guid[]>("--id") { Description = "entries, as `quarantine list` shows them", AllowMultipleArgumentsPerToken = true, Required = true };
        var reason = new Option<string>("--reason") { Description = "who decided and why; no personal data", Required = true };

        var released = new Option<bool>("--released") { Description = "list released cells too, with the reason of their release" };
        var list = new Command("list", "the cells, oldest first; exit code 3 while there are any that are not released") { json, released };
        list.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys => Print(await keys.ListQuarantineAsync(parsed.GetValue(released), cancellationToken).ConfigureAwait(false), parsed.GetValue(json))));

        var retry = new Command("retry", "try cells again: those that open now are re-encrypted and leave the list") { ids, json };
        retry.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys =>
        {
            var report = await keys.RetryQuarantineAsync(parsed.GetValue(ids) is { Length: > 0 } some ? some : null, cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                print(JsonSerializer.Serialize(report, Json));
                return ExitCode(report.Kept.Count);
            }

            print($"{report.Moved} cell(s) re-encrypted, {report.Gone} rewritten or deleted by the application meanwhile, {report.Kept.Count} kept.");
            return Print(report.Kept, json: false);
        }));

        var release = new Command("release", "take cells off the list by decision; they still count in every census") { named, reason };
        release.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys =>
        {
            var gone = await keys.ReleaseQuarantineAsync(parsed.GetValue(named)!, parsed.GetValue(reason)!, cancellationToken).ConfigureAwait(false);
            print($"{gone.Count} cell(s) released. They still name a stale key: no job is proven and no key is destroyed while they stand.");
            return EnvelopeCommandLine.Proven;
        }));
        return new Command("quarantine", "cells that a job could not open") { list, retry, release };
    }

    private int Print(IReadOnlyList<QuarantinedCell> cells, bool json)
    {
        if (json)
        {
            print(JsonSerializer.Serialize(cells, Json));
        }
        else
        {
            foreach (var cell in cells)
            {
                print(string.Create(CultureInfo.InvariantCulture, $"{cell.Id}  {cell.Table}.{cell.Column}  row {cell.PrimaryKey}  key {cell.KeyId?.ToString() ?? "unreadable"}  {cell.Reason}  since {cell.FirstSeenAt:u}{(cell.ReleasedAt is { } at ? $"  released {at:u} ({cell.ReleaseReason})" : "")}"));
            }

            if (cells.Count == 0)
            {
                print("No cell is in quarantine.");
            }
        }

        return ExitCode(cells.Count(c => c.ReleasedAt is null));
    }

    private static int ExitCode(int left) => left == 0 ? EnvelopeCommandLine.Proven : EnvelopeCommandLine.Quarantined;

    private async Task<int> WithKeysAsync(Func<EnvelopeKeys, Task<int>> verb)
    {
        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            return await verb(new EnvelopeKeys(context)).ConfigureAwait(false);
        }
    }
}
