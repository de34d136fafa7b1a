using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteFormerColumnIdTests() : FormerColumnIdTests("SQLite");

public sealed class PostgresFormerColumnIdTests() : FormerColumnIdTests("PostgreSQL");

/// <summary>A column id that changed, with the former one declared: what was sealed under it opens wherever cells are opened, and what is written is sealed under the present one.</summary>
public abstract class FormerColumnIdTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Values_under_a_former_id_open_and_new_ones_are_sealed_under_the_present_id()
    {
        await SaveAsync();
        await using (var context = New(Declared))
        {
            var note = await context.Set<Note>().SingleAsync();
            Assert.Equal(("text", "bound", "armored", "member"), (note.Text, note.Bound, note.Armored, note.Inner!.Word));
            Assert.Equal("text", await context.Set<Note>().Select(n => n.Text).SingleAsync());
            Assert.Equal("text", await new EnvelopeProtector(context).OpenAsync((Note n) => n.Text, await CellAsync("Text", 1)));
            context.Add(new Note { Id = 2, Tenant = 1, Text = "new", Bound = "new bound", Armored = "new armored", Inner = new Inner { Word = "new member" } });
            note.Bound = "changed";
            await context.SaveChangesAsync();
        }

        // Whoever knows the former ids alone opens what was sealed under them, and nothing that was written since.
        await using var before = New(Before);
        Assert.Equal("text", await before.Set<Note>().Where(n => n.Id == 1).Select(n => n.Text).SingleAsync());
        foreach (var refused in new Func<Task>[]
        {
            () => before.Set<Note>().Where(n => n.Id == 1).Select(n => new { n.Id, n.Bound }).SingleAsync(),
            () => before.Set<Note>().Where(n => n.Id == 2).Select(n => n.Text).SingleAsync(),
            () => before.Set<Note>().Where(n => n.Id == 2).Select(n => n.Armored).SingleAsync(),
            () => before.Set<Note>().Where(n => n.Id == 2).AsNoTracking().Select(n => n.Inner).SingleAsync(),
        })
        {
            await Assert.ThrowsAsync<EnvelopeRefusedException>(refused);
        }
    }

    [Fact]
    public async Task A_job_takes_values_to_the_present_id_with_their_new_key()
    {
        await SaveAsync();
        await using (var context = New(Declared))
        {
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(1));
            var report = await new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero });
            Assert.Equal((1, 0), (report.Rows, report.Quarantined));
            Assert.Empty(report.Completion!.SampleFailures);
        }

        await using (var refused = New(Renamed))
        {
            refused.Add(new Note { Id = 3, Tenant = 1, Text = "x" });
            var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => refused.SaveChangesAsync());
            Assert.Contains("FormerColumnIds", error.Message, StringComparison.Ordinal);
        }

        // Nothing stands under a former id any more: whoever knows the present ones alone opens everything.
        await using var renamed = New(Renamed);
        var note = await renamed.Set<Note>().SingleAsync();
        Assert.Equal(("text", "bound", "armored", "member"), (note.Text, note.Bound, note.Armored, note.Inner!.Word));
    }

    [Fact]
    public async Task Values_of_a_column_whose_former_id_is_not_declared_are_refused()
    {
        await SaveAsync();
        await using var renamed = New(Renamed);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => renamed.Set<Note>().Select(n => n.Text).SingleAsync());
    }

    [Theory]
    [InlineData("Note.Armored")]
    [InlineData("Note.Text")]
    [InlineData("shared")]
    [InlineData("Note.Old, Note.Old")]
    public void A_former_id_that_is_its_own_anothers_or_named_twice_is_refused_as_a_model(string ids)
    {
        using var context = New(model =>
        {
            model.Entity<Note>(note =>
            {
                note.Property(n => n.Text).IsEncrypted(e => e.HasFormerColumnIds(ids.Split(", ")));
                note.Property(n => n.Armored).IsEncrypted(e => e.HasFormerColumnIds("shared"));
                note.Ignore(n => n.Inner);
            });
            model.UseEnvelopeEncryption();
        });
        var error = Assert.Throws<EnvelopeConfigurationException>(() => context.Model);
        Assert.Contains("former column id", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_attribute_says_the_same()
    {
        using var context = New(model =>
        {
            model.Entity<Attributed>();
            model.UseEnvelopeEncryption();
        });
        Assert.Equal(["Old.Secret", "Older, secret;"], context.Model.FindEntityType(typeof(Attributed))!.FindProperty(nameof(Attributed.Secret))!.FindEnvelope()!.FormerColumnIds);
    }

    private static void Before(ModelBuilder model) => Configure(model, static id => e => e.HasColumnId(id));

    private static void Declared(ModelBuilder model) => Configure(model, static id => e => e.HasColumnId("new " + id).HasFormerColumnIds("never " + id, id));

    private static void Renamed(ModelBuilder model) => Configure(model, static id => e => e.HasColumnId("new " + id));

    private static void Configure(ModelBuilder model, Func<string, Action<EncryptedPropertyOptions>> named)
    {
        model.Entity<Note>(note =>
        {
            note.ToTable("Notes").HasDataKeyPerTenant(n => n.Tenant);
            note.Property(n => n.Id).ValueGeneratedNever();
            note.Property(n => n.Text).IsEncrypted(named("text"));
            note.Property(n => n.Bound).IsEncrypted(named("bound") + (e => e.IsRowBound()));
            note.Property(n => n.Armored).IsEncrypted(named("armored") + (e => e.IsArmored()));
            note.OwnsOne(n => n.Inner, inner =>
            {
                inner.ToJson();
                inner.Property(i => i.Word).IsEncrypted(named("word"));
            });
        });
        model.UseEnvelopeEncryption();
    }

    private async Task SaveAsync()
    {
        await using var context = New(Before);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Note { Id = 1, Tenant = 1, Text = "text", Bound = "bound", Armored = "armored", Inner = new Inner { Word = "member" } });
        await context.SaveChangesAsync();
    }

    private async Task<byte[]> CellAsync(string column, int id) => (byte[])(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"Notes\" WHERE \"Id\" = {id}"))!;

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private sealed class Note
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public required string Text { get; set; }

        public string? Bound { get; set; }

        public string? Armored { get; set; }

        public Inner? Inner { get; set; }
    }

    private sealed class Inner
    {
        public string? Word { get; set; }
    }

    private sealed class Attributed
    {
        public int Id { get; set; }

        [Encrypted(FormerColumnIds = ["Old.Secret", "Older, secret;"])]
        public string? Secret { get; set; }
    }
}
