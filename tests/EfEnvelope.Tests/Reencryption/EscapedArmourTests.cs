using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>JSON that another writer printed: the job finds every armour that the census counts, whatever of it is escaped.</summary>
public sealed class EscapedArmourTests
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Note>().ToTable("Notes").OwnsOne(n => n.Doc, doc => doc.ToJson());
        model.UseEnvelopeEncryption();
    };

    /// <summary>PHP prints the slash as \/, others as a number, and any character may be printed so; the key id's characters may hold a slash.</summary>
    [Theory]
    [InlineData("/", "\\/")]
    [InlineData("/", "\\u002F")]
    [InlineData("Q", "\\u0051")]
    public async Task Armour_with_escaped_characters_is_found_by_the_job(string character, string escaped)
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), Model);
        await context.Database.EnsureCreatedAsync();
        var keys = new EnvelopeKeys(context);
        var document = "";
        do
        {
            await context.Set<Note>().ExecuteDeleteAsync();
            context.ChangeTracker.Clear();
            if (document.Length > 0)
            {
                await keys.RotateAsync(EnvelopeScope.Global);
            }

            context.Add(new Note { Doc = new Doc { Secret = "a" } });
            await context.SaveChangesAsync();
            document = ((string)(await database.ScalarAsync("SELECT Doc FROM Notes"))!).Replace("\\u002B", "+", StringComparison.Ordinal);
        }
        while (!document.Substring(document.IndexOf("efe1:", StringComparison.Ordinal) + 9, 21).Contains(character, StringComparison.Ordinal));
        await database.ExecuteAsync($"UPDATE Notes SET Doc = '{string.Concat(document.AsSpan(0, document.IndexOf("efe1:", StringComparison.Ordinal) + 9), document[(document.IndexOf("efe1:", StringComparison.Ordinal) + 9)..].Replace(character, escaped, StringComparison.Ordinal))}'");
        context.ChangeTracker.Clear();
        await keys.RotateAsync(EnvelopeScope.Global);
        Assert.Equal(1, (await keys.TakeCensusAsync()).StaleCells);
        await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
        Assert.Equal(0, (await keys.TakeCensusAsync()).StaleCells);
        Assert.Equal("a", (await context.Set<Note>().SingleAsync()).Doc!.Secret);
    }

    private sealed class Note
    {
        public int Id { get; set; }

        public Doc? Doc { get; set; }
    }

    private sealed class Doc
    {
        [Encrypted]
        public string? Secret { get; set; }
    }
}
