using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Writing;

/// <summary>Saves of entities with encrypted values that seal none need no key: that of an erased subject, or of a key service that is away.</summary>
public sealed class UnsealedSaveTests : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Person { Number = 7, Status = "new", Ssn = "s", Owned = new Folder { Text = "o", Sheets = [new Sheet { Title = "x" }] }, Complex = new Paper { Title = "t", Text = "c" } });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_row_with_documents_is_deleted_after_its_subject_was_erased()
    {
        await SaveErasedAsync(static (context, person) => context.Remove(person));
        Assert.Equal(0L, await _database.ScalarAsync("SELECT COUNT(*) FROM \"People\""));
    }

    [Fact]
    public async Task A_column_beside_a_document_is_changed_after_its_subject_was_erased()
    {
        await SaveErasedAsync(static (_, person) => person.Status = "gone");
        Assert.Equal(1L, await _database.ScalarAsync("SELECT COUNT(*) FROM \"People\" WHERE \"Status\" = 'gone' AND \"Complex\" LIKE '%efe1:%' AND \"Owned\" LIKE '%efe1:%'"));
    }

    [Fact]
    public async Task Values_are_set_to_null_after_their_subject_was_erased()
    {
        await SaveErasedAsync(static (_, person) => (person.Ssn, person.Owned, person.Complex) = (null, null, null));
        Assert.Equal(1L, await _database.ScalarAsync("SELECT COUNT(*) FROM \"People\" WHERE \"Ssn\" IS NULL AND \"Owned\" IS NULL AND \"Complex\" IS NULL"));
    }

    [Fact]
    public async Task A_value_is_refused_after_its_subject_was_erased()
    {
        Action<Person>[] changes = [p => p.Ssn = "x", p => p.Owned!.Text = "x", p => p.Complex!.Text = "x", p => p.Owned!.Sheets.Clear(), p => p.Owned = new Folder { Text = "x" }];
        var saves = new List<(PeopleContext Context, Person Person)>();
        foreach (var _ in changes)
        {
            var context = New();
            saves.Add((context, await context.Set<Person>().SingleAsync()));
        }

        await new EnvelopeKeys(saves[0].Context).EraseAsync(EnvelopeScope.Subject("person", 7), "asked for");
        foreach (var (save, change) in saves.Zip(changes))
        {
            change(save.Person);
            await Assert.ThrowsAsync<KeyDestroyedException>(() => save.Context.SaveChangesAsync());
            await save.Context.DisposeAsync();
        }
    }

    /// <summary>EF writes a list without elements with every command of its owner.</summary>
    [Fact]
    public async Task A_row_whose_list_of_documents_is_empty_is_saved_without_a_key()
    {
        await using var context = New();
        var person = new Person { Number = 9, Status = "new" };
        context.Add(person);
        Assert.Equal(1, await context.SaveChangesAsync());
        person.Status = "changed";
        Assert.Equal(1, await context.SaveChangesAsync());
        await SaveErasedAsync(static (_, erased) => erased.Status = "gone");
        Assert.Equal(1L, await _database.ScalarAsync("SELECT COUNT(*) FROM \"People\" WHERE \"Status\" = 'changed' AND \"Notes\" = '[]'"));
        person.Notes.Add(new Note { Text = "n" });
        await context.SaveChangesAsync();
        await using var reader = New();
        Assert.Equal("n", Assert.Single((await reader.Set<Person>().SingleAsync(p => p.Number == 9)).Notes).Text);
    }

    [Fact]
    public async Task A_stub_that_does_not_say_its_subject_takes_what_is_not_encrypted()
    {
        await using (var context = New())
        {
            // With an empty list EF would write that over the row's own.
            var stub = new Person { Id = 1, Notes = null! };
            context.Attach(stub);
            stub.Status = "seen";
            await context.SaveChangesAsync();
            stub.Ssn = "s";
            await Assert.ThrowsAsync<MissingScopeException>(() => context.SaveChangesAsync());
        }

        await using var reader = New();
        var person = await reader.Set<Person>().SingleAsync();
        Assert.Equal(("seen", "s", "o", "c"), (person.Status, person.Ssn, person.Owned!.Text, person.Complex!.Text));
    }

    /// <summary>NULL is written into the row that the entity says, or not at all.</summary>
    [Fact]
    public async Task A_stub_of_another_subject_sets_nothing_to_null()
    {
        await using (var context = New())
        {
            var stub = new Person { Id = 1, Number = 8, Ssn = "?", Complex = new Paper() };
            context.Attach(stub);
            (stub.Ssn, stub.Complex) = (null, null);
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
            context.Entry(stub).Property(p => p.Ssn).IsModified = false;
            await Assert.ThrowsAsync<DbUpdateConcurrencyException>(() => context.SaveChangesAsync());
        }

        await using var reader = New();
        var person = await reader.Set<Person>().SingleAsync();
        Assert.Equal(("s", "c"), (person.Ssn, person.Complex!.Text));
    }

    private async Task SaveErasedAsync(Action<PeopleContext, Person> change)
    {
        await using var context = New();
        var person = await context.Set<Person>().SingleAsync(p => p.Number == 7);
        await new EnvelopeKeys(context).EraseAsync(EnvelopeScope.Subject("person", 7), "asked for");
        change(context, person);
        Assert.Equal(1, await context.SaveChangesAsync());
    }

    private PeopleContext New() => new(_database.Options());

    public sealed class Person
    {
        public int Id { get; set; }

        public int Number { get; set; }

        public string Status { get; set; } = "";

        [Encrypted]
        public string? Ssn { get; set; }

        public List<Note> Notes { get; set; } = [];

        public Folder? Owned { get; set; }

        public Paper? Complex { get; set; }
    }

    public sealed class Folder
    {
        [Encrypted]
        public string? Text { get; set; }

        public List<Sheet> Sheets { get; set; } = [];
    }

    public sealed class Note
    {
        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Sheet
    {
        public string Title { get; set; } = "";
    }

    public sealed class Paper
    {
        public string Title { get; set; } = "";

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class PeopleContext(DbContextOptions options) : DbContext(options)
    {
        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            modelBuilder.Entity<Person>(person =>
            {
                person.ToTable("People").HasDataKeyPerSubject("person", p => p.Number);
                person.OwnsOne(p => p.Owned, folder =>
                {
                    folder.ToJson();
                    folder.OwnsMany(f => f.Sheets);
                });
                person.OwnsMany(p => p.Notes, notes => notes.ToJson());
                person.ComplexProperty(p => p.Complex, paper => paper.ToJson());
            });
            modelBuilder.UseEnvelopeEncryption();
        }
    }
}
