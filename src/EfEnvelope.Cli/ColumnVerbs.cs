using System.CommandLine;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Cli;

/// <summary><c>columns list</c> and <c>forget</c>: which columns of the database hold cells.</summary>
internal sealed class ColumnVerbs(Func<DbContext> createContext, Action<string> print)
{
    public Command CreateCommand()
    {
        var table = new Option<string>("--table") { Description = "the table, as `columns list` shows it", Required = true };
        var column = new Option<string>("--column") { Description = "the column", Required = true };
        var list = new Command("list", "encrypted columns that the ring lists for this database");
        list.SetAction((_, cancellationToken) => WithKeysAsync(async keys =>
        {
            foreach (var registered in await keys.ListColumnsAsync(cancellationToken).ConfigureAwait(false))
            {
                print($"{registered.Table}  {registered.Column}{(registered.IsFound ? "" : "  (not found in the database)")}");
            }
        }));
        var forget = new Command("forget", "take a column that the database does not have off the list: one that was dropped, or whose table is registered under a new name") { table, column };
        forget.SetAction((parsed, cancellationToken) => WithKeysAsync(async keys =>
        {
            await keys.ForgetColumnAsync(parsed.GetValue(table)!, parsed.GetValue(column)!, cancellationToken).ConfigureAwait(false);
            print("Forgotten. A process that still declares it registers it again within the sealing lease.");
        }));
        return new Command("columns", "encrypted columns of this database") { list, forget };
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
