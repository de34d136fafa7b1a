using System.CommandLine;
using System.Globalization;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace EfEnvelope.Cli;

/// <summary>What <c>reencrypt</c> does before it begins: <c>--dry-run</c>, which prints the plan instead; <c>--expired</c> and <c>--from-kms-key</c>, which rotate first.</summary>
internal sealed class PlanVerbs(Func<DbContext> createContext, IAnsiConsole console, Action<string> print)
{
    public Option<bool> DryRun { get; } = new("--dry-run") { Description = "print what would be done and what it would cost; change nothing" };

    public Option<bool> Expired { get; } = new("--expired") { Description = "rotate keys that are older than --key-lifetime-days first, so that their rows follow" };

    public Option<int> LifetimeDays { get; } = new("--key-lifetime-days") { Description = "how old a sealing key may be, in days, 1 to 3,650", DefaultValueFactory = _ => (int)new ReencryptionOptions().KeyLifetime.TotalDays };

    public Option<string?> FromKmsKey { get; } = new("--from-kms-key") { Description = "rotate keys that this root key (ARN) wraps first, so that their rows follow (`rewrap` is cheaper, and touches no row)" };

    public IEnumerable<Option> Options => [DryRun, Expired, LifetimeDays, FromKmsKey];

    /// <returns>An exit code when the verb ends here; null when the job goes on.</returns>
    public async Task<int?> PrepareAsync(ParseResult parsed, ReencryptionOptions options, bool json, CancellationToken cancellationToken)
    {
        if (parsed.GetValue(DryRun) && (parsed.GetValue(Expired) || parsed.GetValue(FromKmsKey) is not null))
        {
            throw new EnvelopeConfigurationException("--dry-run rotates nothing: leave --expired and --from-kms-key out; the plan names expired keys, and keys under another root key, with their cells. Nothing was changed.");
        }

        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            var keys = new EnvelopeKeys(context);
            if (parsed.GetValue(DryRun))
            {
                Show(await keys.PlanReencryptionAsync(options, cancellationToken).ConfigureAwait(false), json);
                return EnvelopeCommandLine.Proven;
            }

            if (parsed.GetValue(Expired) || parsed.GetValue(FromKmsKey) is not null)
            {
                foreach (var key in await keys.RotateExpiredAsync(parsed.GetValue(Expired) ? options.KeyLifetime : null, parsed.GetValue(FromKmsKey), "before a re-encryption", cancellationToken).ConfigureAwait(false))
                {
                    Say($"{key.Scope}: {key.Purpose} key v{key.Version} {key.Id} is active.");
                }
            }

            if (!json)
            {
                print($"Before the rows and after them, {(await keys.EstimateCensusAsync(cancellationToken).ConfigureAwait(false)).ToText()}.");
            }
        }

        return null;

        void Say(string line)
        {
            if (!json)
            {
                print(line);
            }
        }
    }

    private void Show(ReencryptionPlan plan, bool json)
    {
        if (json)
        {
            print(plan.ToJson());
        }
        else if (console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi)
        {
            var table = new Table().RoundedBorder().Title("Re-encryption plan").AddColumns("Why", "Scope", "Key", "State", "Cells");
            foreach (var key in plan.Keys)
            {
                table.AddRow(key.Reason.ToString(), Markup.Escape(key.Scope), key.Id.ToString(), key.State.ToString(), key.Cells.ToString(CultureInfo.InvariantCulture));
            }

            console.Write(table);
            console.Write(new Text(plan.ToText()));
        }
        else
        {
            print(plan.ToText().TrimEnd());
        }
    }
}
