using System.ComponentModel.DataAnnotations.Schema;
using System.Text.Json;
using System.Text.Json.Serialization;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace EfEnvelope.Tests.Conventions;

/// <summary><c>[Encrypted]</c> inside of what one property holds, which a conversion or the provider stores as one value, is refused by name; what holds no mark, or says of itself what it is, is served. No database is reached.</summary>
public sealed class ContainedMarkTests
{
    private static readonly string[] Wirings = ["on the options", "on the model", "in ConfigureConventions"];

    private static readonly Dictionary<string, Action<ModelBuilder>> Refused = new()
    {
        ["a class by a conversion"] = m => Text<Profile>(m),
        ["a list"] = m => Text<List<Profile>>(m),
        ["an array"] = m => Text<Profile[]>(m),
        ["values of a dictionary"] = m => Text<Dictionary<string, Profile>>(m),
        ["a part of a part"] = m => Text<Outer>(m),
        ["a base class"] = m => Text<Special>(m),
        ["an interface"] = m => Text<ByContract>(m),
        ["a derived type that the serializer knows"] = m => Text<Abstract>(m),
        ["a collection of its own"] = m => Text<Profiles>(m),
        ["a generic type"] = m => Text<Pair<int, Profile>>(m),
        ["what derived types hold"] = m => Text<Maybe<Profile>>(m),
        ["a field"] = m => Text<WithField>(m),
        ["a nullable structure"] = m => Text<Struct?>(m),
        ["behind a type that leads to itself"] = m => Text<Ring>(m),
        ["in a complex type"] = m => m.Entity<Owner>().ComplexProperty(o => o.Part, part => part.Property(p => p.Profile).HasConversion(v => Write(v), v => Read<Profile>(v))),
    };

    private static readonly Dictionary<string, Action<ModelBuilder>> Served = new()
    {
        ["a document of the platform"] = m => Text<JsonElement>(m),
        ["a value object"] = m => Text<Money>(m),
        ["a type that leads to itself"] = m => Text<Shape>(m),
        ["an id that names what it is of"] = m => Text<Id<Profile>>(m),
        ["an id by a base class and an interface"] = m => Text<ProfileId>(m),
        ["a rule over a marked type"] = m => Text<Rule>(m),
        ["what is encrypted as a whole"] = m => Text<Profile>(m).IsEncrypted(),
        ["what is declared plain"] = m => Text<Profile>(m).IsNotEncrypted(),
        ["a complex type"] = m => m.Entity<Holder<Profile>>().ComplexProperty(h => h.Value, v => v.IsRequired()),
        ["an owned document"] = m => m.Entity<Holder<Profile>>().OwnsOne(h => h.Value, v => v.ToJson()),
    };

    [Fact]
    public void A_mark_inside_of_what_is_stored_as_one_value_is_refused()
    {
        foreach (var (kind, map) in Refused)
        {
            foreach (var wiring in Wirings)
            {
                var error = Record.Exception(() => Model(map, wiring)) as EnvelopeConfigurationException;
                Assert.True(error?.Message.Contains("in the clear", StringComparison.Ordinal), $"{kind}, {wiring}: {error?.Message ?? "was built"}");
            }
        }
    }

    [Fact]
    public void A_document_that_the_provider_renders_is_refused_and_named()
    {
        foreach (var wiring in Wirings)
        {
            var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(m => m.Entity<Document>(), wiring, o => o.UseNpgsql("Host=nowhere.invalid")));
            Assert.Equal("Profile", error.Property);
            Assert.Contains("Profile.Ssn", error.Message, StringComparison.Ordinal);
            Assert.Contains("Document.Profile", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_ready_made_model_is_refused_too()
        => Assert.Throws<EnvelopeConfigurationException>(() => Again(Model(m => Text<Profile>(m), "nowhere")));

    [Fact]
    public void What_holds_no_mark_or_says_what_it_is_is_served_ready_made_too()
    {
        foreach (var (kind, map) in Served)
        {
            foreach (var wiring in Wirings)
            {
                var error = Record.Exception(() => Again(Model(map, wiring)));
                Assert.True(error is null, $"{kind}, {wiring}: {error?.Message}");
            }
        }
    }

    private static PropertyBuilder<T> Text<T>(ModelBuilder model) => model.Entity<Holder<T>>().Property(h => h.Value).HasConversion(v => Write(v), v => Read<T>(v)!);

    private static string Write<T>(T value) => JsonSerializer.Serialize(value);

    private static T? Read<T>(string text) => JsonSerializer.Deserialize<T>(text);

    private static IModel Again(IModel model)
    {
        var options = new DbContextOptionsBuilder().AmongMany().UseSqlite("Data Source=:memory:").UseModel(model).UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var context = new AdHocContext(options.Options, _ => { });
        return context.Model;
    }

    private static IModel Model(Action<ModelBuilder> model, string wiring, Action<DbContextOptionsBuilder>? provider = null)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        (provider ?? (o => o.UseSqlite("Data Source=:memory:")))(options);
        AdHocContext.Cached(options);
        if (wiring == "on the options")
        {
            options.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        }

        using var context = new AdHocContext(
            options.Options,
            m =>
            {
                model(m);
                if (wiring == "on the model")
                {
                    m.UseEnvelopeEncryption();
                }
            },
            wiring == "in ConfigureConventions" ? c => c.UseEnvelopeEncryption() : null);
        return context.Model;
    }

    public abstract record Maybe<T>;

    public readonly record struct Id<T>(Guid Value);

    public record TypedId<T>(Guid Value);

    public interface IIdOf<T>;

    public sealed record ProfileId(Guid Value) : TypedId<Profile>(Value), IIdOf<Profile>;

    public sealed class Rule
    {
        private readonly Func<Profile, int> _rank = static p => p.Ssn?.Length ?? 0;

        public int Of(Profile profile) => _rank(profile);
    }

    public sealed class Holder<T>
    {
        public int Id { get; set; }

        public T Value { get; set; } = default!;
    }

    public sealed class Document
    {
        public int Id { get; set; }

        [Column(TypeName = "jsonb")]
        public Profile Profile { get; set; } = new();
    }

    public sealed class Owner
    {
        public int Id { get; set; }

        public Part Part { get; set; } = new();
    }

    public sealed class Part
    {
        public Profile? Profile { get; set; }
    }

    public class Profile
    {
        public string? Name { get; set; }

        [Encrypted]
        public string? Ssn { get; set; }
    }

    public sealed class Outer
    {
        public IReadOnlyList<Profile?>? Inner { get; set; }
    }

    public sealed class Special : Profile;

    public interface IContract
    {
        [Encrypted]
        string? Ssn { get; set; }
    }

    public sealed class ByContract : IContract
    {
        public string? Ssn { get; set; }
    }

    [JsonDerivedType(typeof(Derived), "derived")]
    public abstract class Abstract;

    public sealed class Derived : Abstract
    {
        [Encrypted]
        public string? Ssn { get; set; }
    }

    public sealed class Profiles : List<Profile>;

    public sealed record Pair<TFirst, TSecond>(TFirst First, TSecond Second);

    public sealed class WithField
    {
        [Encrypted]
        private string? _number;

        public string? Ssn
        {
            get => _number;
            set => _number = value;
        }
    }

    public struct Struct
    {
        [Encrypted]
        public string? Ssn { get; set; }
    }

    public sealed class Ring
    {
        public Ring? Next { get; set; }

        public Profile? Profile { get; set; }
    }

    public readonly record struct Money(decimal Amount, string Currency);

    public class Shape
    {
        public Shape? Outer { get; set; }

        public IList<Shape> Parts { get; set; } = [];

        public object? UserData { get; set; }
    }
}
