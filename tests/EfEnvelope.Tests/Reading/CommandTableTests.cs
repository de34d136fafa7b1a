using EfEnvelope.Reading;
using Microsoft.Data.Sqlite;

namespace EfEnvelope.Tests.Reading;

/// <summary>What a context's commands leave with it.</summary>
public sealed class CommandTableTests
{
    [Fact]
    public void Commands_at_the_same_time_keep_what_is_theirs()
    {
        using SqliteCommand first = new(), second = new(), third = new();
        var table = new CommandTable<string>();
        table.Set(first, "first");
        table.Set(second, "second");
        table.Set(second, "second again");
        Assert.Equal(("first", "second again", null), (Get(table, first), Get(table, second), Get(table, third)));
        table.Remove(first);
        Assert.Equal((null, "second again"), (Get(table, first), Get(table, second)));

        // The place that is free is taken by one that had a place elsewhere.
        table.Set(second, "second once more");
        table.Set(third, "third");
        Assert.Equal(("second once more", "third"), (Get(table, second), Get(table, third)));
        table.Remove(second);
        table.Remove(second);
        Assert.Equal((null, "third"), (Get(table, second), Get(table, third)));
        table.Remove(third);
        Assert.Null(Get(table, third));
    }

    private static string? Get(CommandTable<string> table, SqliteCommand command) => table.TryGet(command, out var value) ? value : null;
}
