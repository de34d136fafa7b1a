using System.CommandLine;
using System.Globalization;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>databases list</c> and <c>forget</c>: which databases a ring serves.</summary>
internal sealed class DatabaseVerbs(Func<DbContext> createContext, Action<string> print)
{
    public Command CreateCommand()
    {
        var name = new Option<string>("--name") { Description = "the database, as `databases list` shows it", Required = true };
        var list = new Command("list", "databases whose encrypted columns the ring lists");
        list.SetAction((_, cancellationToken) => WithKeysAsync(async keys =>
        {
            foreach (var database in await keys.ListDatabasesAsync(cancellationToken).ConfigureAwait(false))
            {
                print(string.Create(CultureInfo.InvariantCulture, $"{database.Name}  {database.Columns} column(s){(database.IsOwn ? "  (this one)" : "")}"));
            }
        }));
        var forget = new Command("forget", "take another database off the list: one that is gone, or whose own census proved that no cell names the keys in question") { name };
        forget.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys =>
        {
            await keys.ForgetDatabaseAsync(parsed.GetValue(name)!, cancellationToken).ConfigureAwait(false);
            print("Forgotten. A process that still uses it registers it again within the sealing lease.");
        }));
        return new Command("databases", "databases that share the key ring") { list, forget };
    }

    private async Task<int> WithKeysAsync(Func<EnvelopeKeys, Task> verb)
    {
        var context = createContext();
        await using (context.ConfigureAwait(false))
        {
            await verb(new EnvelopeKeys(context)).ConfigureAwait(false);
            return EnvelopeCommandLine.Proven;
        }
    }
}
