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
        var forget = new Command("forget", "take a database off the list that is gone; in one that lives, run `reencrypt` or `census --report` instead") { name };
        forget.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys =>
        {
            await keys.ForgetDatabaseAsync(parsed.GetValue(name)!, cancellationToken).ConfigureAwait(false);
            print("Forgotten. If it is still there, its cells are lost when the keys that they name are destroyed: it is listed again only when somebody saves to it, or runs the job there.");
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
