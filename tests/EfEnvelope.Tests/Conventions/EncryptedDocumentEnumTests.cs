using System.Text.Json;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage.Json;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteEncryptedDocumentEnumTests() : EncryptedDocumentEnumTests("SQLite");

public sealed class PostgresEncryptedDocumentEnumTests() : EncryptedDocumentEnumTests("PostgreSQL");

/// <summary>
/// EF gives each enum of an owned JSON document a reader and writer of its own while it finalizes the model, and prefers it to the property's conversion: an encrypted one is sealed all the same, wherever encryption is switched on.
/// </summary>
public abstract class EncryptedDocumentEnumTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public enum Risk
    {
        Low,
        Middle = 700122,
        High = 700123,
    }

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("on the model, last")]
    [InlineData("on the model, first")]
    [InlineData("in ConfigureConventions")]
    [InlineData("on the options")]
    public async Task An_encrypted_enum_of_a_document_is_sealed_in_every_wiring(string wiring)
    {
        await using (var context = New(Map, wiring))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(Sample());
            await context.SaveChangesAsync();
            await AssertSealedAsync(context, 11);
        }

        await using (var context = New(Map, wiring))
        {
            var read = await context.Set<Client>().SingleAsync();
            Assert.Equal((Risk.High, (Risk?)Risk.Middle, "canary note", Risk.High), (read.Profile.Risk, read.Profile.Former, read.Profile.Note, read.Profile.Inner.Risk));
            Assert.Equal((Risk.High, (Risk?)Risk.High), (read.Profile.Entries.Single().Risk, read.Profile.Entries.Single().Former));
            Assert.Equal([(Risk.Middle, null), (Risk.High, (Risk?)Risk.Low)], read.Cards.Select(c => (c.Risk, c.Former)));
            Assert.Equal((Risk.High, (Risk?)Risk.Middle), (read.Place.Risk, read.Place.Former));

            // A single member of the document.
            read.Profile.Risk = Risk.Middle;
            read.Cards[0].Risk = Risk.High;
            await context.SaveChangesAsync();
            await AssertSealedAsync(context, 11);
        }

        await using var reader = New(Map, wiring);
        Assert.Equal(Risk.Middle, (await reader.Set<Client>().AsNoTracking().SingleAsync()).Profile.Risk);
    }

    [Theory]
    [InlineData("on the model, last")]
    [InlineData("on the model, first")]
    [InlineData("in ConfigureConventions")]
    [InlineData("on the options")]
    public void A_reader_and_writer_of_the_applications_own_is_refused(string wiring)
    {
        using var context = New(
            m =>
            {
                Map(m);
                m.Entity<Client>().OwnsOne(c => c.Profile).Property(p => p.Note).Metadata.SetJsonValueReaderWriterType(typeof(JsonStringReaderWriter));
            },
            wiring);
        var error = Assert.Throws<EnvelopeConfigurationException>(() => context.Model);
        Assert.Equal("Note", error.Property);
        Assert.Contains("JsonStringReaderWriter", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A model that was compiled before EfEnvelope took the reader and writer off.</summary>
    [Fact]
    public void A_ready_made_model_with_such_a_reader_and_writer_is_refused()
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        AdHocContext.Cached(_database.UseProvider(plain));
        IModel model;
        using (var context = new AdHocContext(plain.Options, m =>
        {
            Map(m);
            m.UseEnvelopeEncryption();
            m.Entity<Client>().OwnsOne(c => c.Profile).Property(p => p.Risk).Metadata.SetJsonValueReaderWriterType(typeof(JsonWarningEnumReaderWriter<Risk>));
        }))
        {
            model = context.Model;
        }

        using var wired = new AdHocContext(_database.Options(more: o => o.UseModel(model)), _ => { });
        var error = Assert.Throws<EnvelopeConfigurationException>(() => wired.Model);
        Assert.Equal("Risk", error.Property);
        Assert.Contains("dbcontext optimize", error.Message, StringComparison.Ordinal);
    }

    private static void Map(ModelBuilder model)
        => model.Entity<Client>(client =>
        {
            client.ToTable("Clients");
            client.OwnsOne(c => c.Profile, profile =>
            {
                profile.ToJson();
                profile.OwnsOne(p => p.Inner);
                profile.OwnsMany(p => p.Entries);
            });
            client.OwnsMany(c => c.Cards, cards => cards.ToJson());
            client.ComplexProperty(c => c.Place, place => place.ToJson());
        });

    private static Client Sample() => new()
    {
        Profile = new Profile { Risk = Risk.High, Former = Risk.Middle, Note = "canary note", Inner = new Inner { Risk = Risk.High }, Entries = [new Card { Risk = Risk.High, Former = Risk.High }] },
        Cards = [new Card { Risk = Risk.Middle }, new Card { Risk = Risk.High, Former = Risk.Low }],
        Place = new Place { Risk = Risk.High, Former = Risk.Middle },
    };

    private async Task AssertSealedAsync(DbContext context, int expected)
    {
        await StoredCells.AssertSealedAsync(_database, context, "canary", "700122", "700123");
        var armours = 0;
        foreach (var column in new[] { "Profile", "Cards", "Place" })
        {
            var document = Assert.IsType<string>(await _database.ScalarAsync($"SELECT \"{column}\" FROM \"Clients\""));
            armours += document.Split("\"efe1:").Length - 1;
            using var parsed = JsonDocument.Parse(document);
            Assert.DoesNotContain(Values(parsed.RootElement), v => v.ValueKind == JsonValueKind.Number);
        }

        Assert.Equal(expected, armours);
    }

    private static IEnumerable<JsonElement> Values(JsonElement element)
        => element.ValueKind switch
        {
            JsonValueKind.Object => element.EnumerateObject().SelectMany(member => Values(member.Value)),
            JsonValueKind.Array => element.EnumerateArray().SelectMany(Values),
            _ => [element],
        };

    private AdHocContext New(Action<ModelBuilder> model, string wiring)
        => new(
            _database.Options(more: AdHocContext.Cached),
            m =>
            {
                if (wiring == "on the model, first")
                {
                    m.UseEnvelopeEncryption();
                }

                model(m);
                if (wiring == "on the model, last")
                {
                    m.UseEnvelopeEncryption();
                }
            },
            wiring == "in ConfigureConventions" ? c => c.UseEnvelopeEncryption() : null);

    public sealed class Client
    {
        public int Id { get; set; }

        public Profile Profile { get; set; } = new();

        public List<Card> Cards { get; set; } = [];

        public Place Place { get; set; } = new();
    }

    public sealed class Profile
    {
        [Encrypted]
        public Risk Risk { get; set; }

        [Encrypted]
        public Risk? Former { get; set; }

        [Encrypted]
        public string Note { get; set; } = "";

        public Inner Inner { get; set; } = new();

        public List<Card> Entries { get; set; } = [];
    }

    public sealed class Inner
    {
        [Encrypted]
        public Risk Risk { get; set; }
    }

    public sealed class Card
    {
        [Encrypted]
        public Risk Risk { get; set; }

        [Encrypted]
        public Risk? Former { get; set; }
    }

    public sealed class Place
    {
        [Encrypted]
        public Risk Risk { get; set; }

        [Encrypted]
        public Risk? Former { get; set; }
    }
}
