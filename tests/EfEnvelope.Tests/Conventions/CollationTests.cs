using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteCollationTests() : CollationTests("SQLite", "NOCASE");

public sealed class PostgresCollationTests() : CollationTests("PostgreSQL", "C");

/// <summary>A collation that the application sets for all its texts is not meant for envelopes: PostgreSQL knows none of binary columns.</summary>
public abstract class CollationTests(string provider, string collation) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("on the options")]
    [InlineData("on the model, first")]
    [InlineData("on the model, last")]
    [InlineData("in ConfigureConventions")]
    public async Task Encrypted_columns_have_no_collation_and_plain_ones_keep_theirs(string wiring)
    {
        await using var context = New(wiring);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Person { Name = "plain", Ssn = "canary binary", Note = "canary armour", Code = "canary code" });
        await context.SaveChangesAsync();
        Assert.Equal(3, await StoredCells.AssertSealedAsync(_database, context, "canary"));
        context.ChangeTracker.Clear();
        var read = await context.Set<Person>().SingleAsync();
        Assert.Equal(("plain", "canary binary", "canary armour", "canary code"), (read.Name, read.Ssn, read.Note, read.Code));
        var type = context.GetService<IDesignTimeModel>().Model.FindEntityType(typeof(Person))!;
        Assert.Equal([null, collation, null, null], new[] { "Code", "Name", "Note", "Ssn" }.Select(name => type.FindProperty(name)!.GetCollation()));
    }

    [Fact]
    public void A_property_that_is_taken_back_has_its_collation_again()
    {
        using var context = New("on the model, first", m => m.Entity<Person>().Property(p => p.Ssn).IsNotEncrypted());
        Assert.Equal(collation, context.GetService<IDesignTimeModel>().Model.FindEntityType(typeof(Person))!.FindProperty("Ssn")!.GetCollation());
    }

    private AdHocContext New(string wiring, Action<ModelBuilder>? more = null)
        => new(
            _database.Options(more: AdHocContext.Cached),
            m =>
            {
                m.Entity<Person>().ToTable("People");
                if (wiring == "on the model, first")
                {
                    m.UseEnvelopeEncryption();
                }

                m.Entity<Person>().Property(p => p.Code).UseCollation(collation);
                more?.Invoke(m);
                if (wiring == "on the model, last")
                {
                    m.UseEnvelopeEncryption();
                }
            },
            conventions =>
            {
                conventions.Properties<string>().UseCollation(collation);
                if (wiring == "in ConfigureConventions")
                {
                    conventions.UseEnvelopeEncryption();
                }
            });

    public sealed class Person
    {
        public int Id { get; set; }

        public string Name { get; set; } = "";

        [Encrypted]
        public string Ssn { get; set; } = "";

        [Encrypted(Armored = true)]
        public string Note { get; set; } = "";

        [Encrypted]
        public string Code { get; set; } = "";
    }
}
