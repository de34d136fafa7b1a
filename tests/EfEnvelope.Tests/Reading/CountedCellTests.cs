using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteCountedCellTests() : CountedCellTests("SQLite")
{
    /// <summary>SQLite keeps any storage class in any column, and converts between text and blobs: a genuine envelope in another one than the column's is counted by no census, and does not open.</summary>
    [Theory]
    [InlineData("Binary", "CAST(Binary AS TEXT)")]
    [InlineData("Armored", "CAST(Armored AS BLOB)")]
    [InlineData("Doc", "CAST(Doc AS BLOB)")]
    public async Task An_envelope_in_another_storage_class_than_its_columns_is_refused(string column, string value)
    {
        Assert.Equal(1, await Database.ExecuteAsync($"UPDATE Notes SET {column} = {value}"));
        await using var context = New();
        foreach (var read in new Func<Task>[] { () => context.Set<Note>().ToListAsync(), () => context.Set<Note>().FromSqlRaw("SELECT * FROM Notes").AsNoTracking().ToListAsync(), () => Task.FromResult(context.Set<Note>().AsNoTracking().ToList()) })
        {
            await Assert.ThrowsAsync<EnvelopeRefusedException>(read);
        }
    }
}

public sealed class PostgresCountedCellTests() : CountedCellTests("PostgreSQL");

/// <summary>What a reader opens, a census counts: else a key would be taken for unused that a value still needs (G15, G34).</summary>
public abstract class CountedCellTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Note>(note =>
        {
            note.ToTable("Notes");
            note.OwnsOne(n => n.Doc, doc => doc.ToJson());
        });
        model.UseEnvelopeEncryption();
    };

    protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Note { Binary = "binary", Armored = "armored", Doc = new Doc { Plain = "plain", Secret = "a" } });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await Database.DisposeAsync();

    /// <summary>Some writers of JSON print these as escapes: Gson the equals sign, PHP the slash, System.Text.Json the plus.</summary>
    [Fact]
    public async Task Armour_with_escaped_characters_opens_is_counted_and_re_encrypted()
    {
        await using (var context = New())
        {
            await SpellAsync(armour => armour.Replace("+", "\\u002B", StringComparison.Ordinal).Replace("/", "\\/", StringComparison.Ordinal).Replace("=", "\\u003d", StringComparison.Ordinal));
            Assert.Equal("a", (await context.Set<Note>().AsNoTracking().SingleAsync()).Doc!.Secret);
            Assert.Equal(1, await CountAsync(context));
        }

        await using (var context = New())
        {
            await SpellAsync(armour => armour[..^8] + string.Concat(armour[^8..].Select(c => $"\\u{(int)c:x4}")));
            Assert.Equal("a", (await context.Set<Note>().AsNoTracking().SingleAsync()).Doc!.Secret);
            Assert.Equal(1, await CountAsync(context));
            var keys = new EnvelopeKeys(context);
            await keys.RotateAsync(EnvelopeScope.Global);
            await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
            Assert.Equal(0, (await keys.TakeCensusAsync()).StaleCells);
            Assert.Equal("a", (await context.Set<Note>().AsNoTracking().SingleAsync()).Doc!.Secret);
        }
    }

    [Theory]
    [InlineData("\\u0065fe1:")]
    [InlineData("efe1\\u003a")]
    [InlineData("\\u0065\\u0066\\u0065\\u0031\\u003A")]
    public async Task Armour_whose_prefix_is_escaped_is_counted_or_refused(string prefix)
    {
        await SpellAsync(armour => prefix + armour["efe1:".Length..]);
        await using var context = New();
        if (provider == "PostgreSQL")
        {
            // jsonb keeps characters, not spellings.
            Assert.Equal("a", (await context.Set<Note>().AsNoTracking().SingleAsync()).Doc!.Secret);
            Assert.Equal(1, await CountAsync(context));
        }
        else
        {
            var error = await Assert.ThrowsAsync<EnvelopeRefusedException>(() => context.Set<Note>().AsNoTracking().ToListAsync());
            Assert.Contains("Note.Doc", error.Message, StringComparison.Ordinal);
        }
    }

    protected AdHocContext New() => new(Database.Options(more: AdHocContext.Cached), Model);

    private async Task SpellAsync(Func<string, string> spell)
    {
        var document = (string)(await Database.ScalarAsync("SELECT CAST(\"Doc\" AS TEXT) FROM \"Notes\""))!;
        var start = document.IndexOf("efe1:", StringComparison.Ordinal);
        var end = document.IndexOf('"', start);
        var armour = document[start..end].Replace("\\u002B", "+", StringComparison.Ordinal).Replace("\\/", "/", StringComparison.Ordinal).Replace("\\u003d", "=", StringComparison.Ordinal);
        Assert.Equal(1, await Database.ExecuteAsync($"UPDATE \"Notes\" SET \"Doc\" = '{document[..start]}{spell(armour)}{document[end..]}'"));
    }

    private static async Task<long> CountAsync(DbContext context)
        => (await new EnvelopeKeys(context).TakeCensusAsync()).Entries.Where(e => e is { Column: "Doc", Scope: "global" }).Sum(e => e.Cells);

    protected sealed class Note
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Binary { get; set; }

        [Encrypted(Armored = true)]
        public string? Armored { get; set; }

        public Doc? Doc { get; set; }
    }

    protected sealed class Doc
    {
        public string? Plain { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }
}
