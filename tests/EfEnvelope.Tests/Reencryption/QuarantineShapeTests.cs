using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteQuarantineShapeTests() : QuarantineShapeTests("SQLite");

public sealed class PostgresQuarantineShapeTests() : QuarantineShapeTests("PostgreSQL")
{
    [Fact]
    public async Task A_row_that_row_level_security_hides_is_not_taken_for_one_that_is_gone()
    {
        await using var context = New();
        await SeedAsync(context);
        await PoisonAsync("Bytes", armoured: false);
        var keys = new EnvelopeKeys(context);
        await keys.ReencryptAsync(Job);
        var name = $"reader_{Guid.NewGuid():N}";
        await Database.ExecuteAsync(
            $"""
            CREATE ROLE {name} LOGIN PASSWORD 'reader';
            GRANT ALL ON ALL TABLES IN SCHEMA public TO {name};
            ALTER TABLE "Notes" ENABLE ROW LEVEL SECURITY;
            CREATE POLICY none ON "Notes" USING (false);
            """);
        try
        {
            await using var reader = New(new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Username = name, Password = "reader" }.ConnectionString);
            var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => new EnvelopeKeys(reader).RetryQuarantineAsync());
            Assert.Contains("row-level security", error.Message, StringComparison.Ordinal);
            Assert.Single(await keys.ListQuarantineAsync());
        }
        finally
        {
            await Database.ExecuteAsync($"DROP OWNED BY {name}; DROP ROLE {name}");
        }
    }
}

/// <summary>Quarantined cells of every kind of column and key are restored and moved by a retry.</summary>
public abstract class QuarantineShapeTests(string provider) : IAsyncLifetime
{
    protected static readonly ReencryptionOptions Job = JobFaultTests.Small with { CutOffTimeout = TimeSpan.Zero };

    private static readonly Action<ModelBuilder> Model = model =>
    {
        model.Entity<Note>(note =>
        {
            note.ToTable("Notes");
            note.HasKey(n => new { n.Book, n.Shelf, n.Page });
            note.OwnsOne(n => n.Inner, inner => inner.ToJson());
        });
        model.UseEnvelopeEncryption();
    };

    private protected TestDatabase Database { get; private set; } = null!;

    public async Task InitializeAsync() => Database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await Database.DisposeAsync();

    [Theory]
    [InlineData("Bytes", false)]
    [InlineData("Text", true)]
    [InlineData("Bound", false)]
    [InlineData("Inner", true)]
    public async Task A_cell_that_was_restored_is_moved_wherever_it_stands(string column, bool armoured)
    {
        await using var context = New();
        await SeedAsync(context);
        var whole = await PoisonAsync(column, armoured);
        var keys = new EnvelopeKeys(context);
        var report = await keys.ReencryptAsync(Job);
        Assert.Equal((3L, 1L), (report.Rows, report.Quarantined));
        var cell = Assert.Single(await keys.ListQuarantineAsync());
        Assert.Equal(("Notes", column), (cell.Table, cell.Column));
        Assert.StartsWith("[\"b 2\",", cell.PrimaryKey, StringComparison.Ordinal);
        Assert.Contains(cell.KeyId!.Value, report.StaleKeys);

        // Still damaged: kept, with the type of the error.
        Assert.Equal(cell.Reason, Assert.Single((await keys.RetryQuarantineAsync()).Kept).Reason);

        await WriteAsync(column, whole);
        var retried = await keys.RetryQuarantineAsync([cell.Id]);
        Assert.Equal((1, 0, 0), (retried.Moved, retried.Gone, retried.Kept.Count));
        Assert.Equal(0, (await keys.TakeCensusAsync()).StaleCells);
        Assert.Empty(await keys.ListQuarantineAsync());
        var read = await context.Set<Note>().AsNoTracking().SingleAsync(n => n.Book == "b 2");
        Assert.Equal(("bytes 2", "text 2", "bound 2", "first 2", "second 2"), (read.Bytes, read.Text, read.Bound, read.Inner.First, read.Inner.Second));
    }

    [Fact]
    public async Task A_release_keeps_the_type_of_the_error_and_is_listed_on_request()
    {
        await using var context = New();
        await SeedAsync(context);
        await PoisonAsync("Bytes", armoured: false);
        var keys = new EnvelopeKeys(context);
        await keys.ReencryptAsync(Job);
        var cell = Assert.Single(await keys.ListQuarantineAsync());
        Assert.Equal(((DateTimeOffset?)null, null), (cell.ReleasedAt, cell.ReleaseReason));

        await keys.ReleaseQuarantineAsync([cell.Id], "the row is lost; M. K.");
        Assert.Empty(await keys.ListQuarantineAsync());
        foreach (var later in new[] { false, true })
        {
            if (later)
            {
                await keys.ReencryptAsync(Job);
            }

            var released = Assert.Single(await keys.ListQuarantineAsync(includeReleased: true));
            Assert.Equal((cell.Id, cell.Reason, "the row is lost; M. K.", Database.Time.GetUtcNow()), (released.Id, released.Reason, released.ReleaseReason, released.ReleasedAt));
        }

        using var printed = new StringWriter();
        var console = Spectre.Console.AnsiConsole.Create(new Spectre.Console.AnsiConsoleSettings { Out = new Spectre.Console.AnsiConsoleOutput(printed) });
        Assert.Equal(EfEnvelope.Cli.EnvelopeCommandLine.Proven, await EfEnvelope.Cli.EnvelopeCommandLine.RunAsync(["quarantine", "list", "--released"], () => New(), console));
        Assert.Contains($"{cell.Reason}  since", printed.ToString(), StringComparison.Ordinal);
        Assert.Contains("(the row is lost; M. K.)", printed.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_document_of_which_a_part_stands_under_a_refused_key_stays_listed_until_all_of_it_is_moved()
    {
        var service = new RefusingService();
        Database.KeyService = service;
        Guid first;
        await using (var context = New())
        {
            await SeedAsync(context);
            var whole = await PoisonAsync("Inner", armoured: true);
            var keys = new EnvelopeKeys(context);
            Assert.Equal(1, (await keys.ReencryptAsync(Job)).Quarantined);
            await WriteAsync("Inner", whole);
            first = Assert.Single(await keys.ListQuarantineAsync()).KeyId!.Value;
        }

        await using (var context = New())
        {
            (await context.Set<Note>().SingleAsync(n => n.Book == "b 2")).Inner.Second = "later";
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
        }

        var second = Assert.Single(await NamedAsync(), id => id != first);
        service.Refused = (byte[])(await Database.ScalarAsync($"SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE \"Id\" = '{(provider == "PostgreSQL" ? first.ToString() : first.ToString().ToUpperInvariant())}'"))!;
        await ForgetAsync();
        await using (var context = New())
        {
            var retried = await new EnvelopeKeys(context).RetryQuarantineAsync();
            Assert.Equal((0, 0, nameof(KeyRefusedException)), (retried.Moved, retried.Gone, Assert.Single(retried.Kept).Reason));
            Assert.Equal(nameof(KeyRefusedException), Assert.Single(await new EnvelopeKeys(context).ListQuarantineAsync()).Reason);
            var named = await NamedAsync();
            Assert.Equal((2, true, false), (named.Count, named.Contains(first), named.Contains(second)));
        }

        service.Refused = null;
        await ForgetAsync();
        await using (var context = New())
        {
            var retried = await new EnvelopeKeys(context).RetryQuarantineAsync();
            Assert.Equal((1, 0, 0), (retried.Moved, retried.Gone, retried.Kept.Count));
            Assert.DoesNotContain(first, await NamedAsync());
            var read = await context.Set<Note>().AsNoTracking().SingleAsync(n => n.Book == "b 2");
            Assert.Equal(("first 2", "later"), (read.Inner.First, read.Inner.Second));
        }

        async Task<HashSet<Guid>> NamedAsync()
            => [.. EfEnvelope.Census.Documents.Find((string)(await Database.ScalarAsync("SELECT CAST(\"Inner\" AS TEXT) FROM \"Notes\" WHERE \"Book\" = 'b 2'"))!).Select(d => d.KeyId)];

        async Task ForgetAsync()
        {
            await using var connection = Database.Connect();
            EfEnvelope.Keys.KeyRingRegistry.Invalidate(connection.DataSource, connection.Database);
        }
    }

    private protected AdHocContext New(string? connectionString = null) => new(Database.Options(null, AdHocContext.Cached, connectionString), Model);

    private protected static async Task SeedAsync(AdHocContext context)
    {
        await context.Database.EnsureCreatedAsync();
        context.AddRange(Enumerable.Range(1, 3).Select(n => new Note
        {
            Book = $"b {n}", Shelf = Guid.NewGuid(), Page = n, Bytes = $"bytes {n}", Text = $"text {n}", Bound = $"bound {n}", Inner = new Inner { First = $"first {n}", Second = $"second {n}" },
        }));
        await context.SaveChangesAsync();
        await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Global);
    }

    /// <summary>Damages the second row's cell, in its last byte or in the armour of its first member, and answers what it was.</summary>
    private protected async Task<object> PoisonAsync(string column, bool armoured)
    {
        var cell = (await Database.ScalarAsync($"SELECT {(armoured ? $"CAST(\"{column}\" AS TEXT)" : $"\"{column}\"")} FROM \"Notes\" WHERE \"Book\" = 'b 2'"))!;
        if (cell is byte[] bytes)
        {
            await WriteAsync(column, (byte[])[.. bytes[..^1], (byte)(bytes[^1] ^ 1)]);
            return cell;
        }

        // A letter in the middle of the first envelope: behind its header, before its end.
        var text = (string)cell;
        var at = text.IndexOf(EfEnvelope.Envelopes.TextArmor.Prefix, StringComparison.Ordinal) + 60;
        await WriteAsync(column, string.Concat(text.AsSpan(0, at), text[at] == 'A' ? "B" : "A", text.AsSpan(at + 1)));
        return cell;
    }

    private protected async Task WriteAsync(string column, object cell)
    {
        var isPostgres = provider == "PostgreSQL";
        var literal = cell is byte[] bytes ? isPostgres ? $"'\\x{Convert.ToHexString(bytes)}'::bytea" : $"x'{Convert.ToHexString(bytes)}'" : $"'{(string)cell}'{(isPostgres && column == "Inner" ? "::jsonb" : "")}";
        Assert.Equal(1, await Database.ExecuteAsync($"UPDATE \"Notes\" SET \"{column}\" = {literal} WHERE \"Book\" = 'b 2'"));
    }

    private sealed class Note
    {
        public string Book { get; set; } = "";

        public Guid Shelf { get; set; }

        public long Page { get; set; }

        [Encrypted]
        public string? Bytes { get; set; }

        [Encrypted(Armored = true)]
        public string? Text { get; set; }

        [Encrypted(RowBound = true)]
        public string? Bound { get; set; }

        public Inner Inner { get; set; } = new();
    }

    private sealed class Inner
    {
        [Encrypted]
        public string? First { get; set; }

        [Encrypted]
        public string? Second { get; set; }
    }
}
