using System.ComponentModel.DataAnnotations.Schema;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteUnmappedMarkTests() : UnmappedMarkTests(o => o.UseSqlite("Data Source=:memory:"));

public sealed class PostgresUnmappedMarkTests() : UnmappedMarkTests(o => o.UseNpgsql("Host=nowhere.invalid"));

/// <summary><c>[Encrypted]</c> on a field or property that EF does not map, while another member stores its value in the clear, is refused by name; what EF maps by that field, and what is left out, is served. No database is reached.</summary>
public abstract class UnmappedMarkTests(Action<DbContextOptionsBuilder> provider)
{
    private static readonly string[] Wirings = ["on the options", "on the model", "in ConfigureConventions"];

    private static readonly Dictionary<string, (Action<ModelBuilder> Map, string Member)> Refused = new()
    {
        ["a field that another property stores"] = (m => m.Entity<OtherField>(), "_number"),
        ["the same of a complex type"] = (m => m.Entity<Owner>().ComplexProperty(o => o.Part), "_number"),
        ["the same of an owned type"] = (m => m.Entity<Owner>().OwnsOne(o => o.Part), "_number"),
        ["the same in an unmapped base"] = (m => m.Entity<OfBase>(), "_number"),
        ["the same beside what is encrypted"] = (m => m.Entity<OtherField>().Property(o => o.Other).IsEncrypted(), "_number"),
        ["a property without a setter, whose field is mapped"] = (m => m.Entity<Getter>().Property<string>("_ssn"), "Ssn"),
        ["a private property that a public one stores"] = (m => m.Entity<Private>(), "Inner"),
        ["an explicit implementation"] = (m => m.Entity<Explicit>(), $"{typeof(UnmappedMarkTests).FullName}.IHasText.Text".Replace('+', '.')),
        ["the field of a property that is overridden"] = (m => m.Entity<Overriding>(), "<Text>k__BackingField"),
    };

    private static readonly Dictionary<string, (Action<ModelBuilder> Map, int Encrypted)> Served = new()
    {
        ["the field of an auto-property"] = (m => m.Entity<Auto>(), 1),
        ["a field that is named"] = (m => m.Entity<OtherField>().Property(o => o.Ssn).HasField("_number"), 1),
        ["a field that is mapped"] = (m => m.Entity<OtherField>().Ignore(o => o.Ssn).Property<string?>("_number"), 1),
        ["an ignored field"] = (m => m.Entity<OtherField>().Ignore("_number").Property(o => o.Ssn).IsEncrypted(), 1),
        ["an ignored property"] = (m => m.Entity<Getter>().Ignore(g => g.Ssn).Property<string>("_ssn").IsEncrypted(), 1),
        ["a field of an ignored property"] = (m => m.Entity<Paired>().Ignore(p => p.Text), 0),
        ["the field of an ignored auto-property"] = (m => m.Entity<Auto>().Ignore(a => a.Text), 0),
        ["a field that is declared"] = (m => m.Entity<Getter>().Property<string>("_ssn").IsEncrypted(), 1),
        ["a field that is declared plain"] = (m => m.Entity<Getter>().Property<string>("_ssn").IsNotEncrypted(), 0),
        ["[NotMapped]"] = (m => m.Entity<LeftOut>(), 0),
        ["a property that is hidden"] = (m => m.Entity<Hiding>(), 0),
        ["a field of a mapped base that a derived type maps"] = (m =>
        {
            m.Entity<MappedBase>();
            m.Entity<MapsField>().Property(d => d.Value).HasField("_value");
        }, 1),
    };

    public static TheoryData<string> RefusedKinds() => [.. Refused.Keys];

    public static TheoryData<string> ServedKinds() => [.. Served.Keys];

    [Theory]
    [MemberData(nameof(RefusedKinds))]
    public void A_mark_on_what_EF_does_not_map_is_refused(string kind)
    {
        foreach (var wiring in Wirings)
        {
            var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(Refused[kind].Map, wiring));
            Assert.Equal(Refused[kind].Member, error.Property);
            Assert.Contains("in the clear", error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(RefusedKinds))]
    public void A_ready_made_model_is_refused_too(string kind)
        => Assert.Equal(Refused[kind].Member, Assert.Throws<EnvelopeConfigurationException>(() => Again(Model(Refused[kind].Map, "nowhere", run: true))).Property);

    [Theory]
    [MemberData(nameof(ServedKinds))]
    public void What_EF_maps_or_leaves_out_is_served_ready_made_too(string kind)
    {
        foreach (var wiring in Wirings)
        {
            var model = Model(Served[kind].Map, wiring, run: true);
            Assert.Equal(Served[kind].Encrypted, model.GetEntityTypes().Sum(e => e.GetFlattenedProperties().Count(p => p.FindAnnotation("EfEnvelope:Column") is not null)));
            Assert.Same(model, Again(model));
        }
    }

    private IModel Again(IModel model)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
        options.UseModel(model).UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var context = new AdHocContext(options.Options, _ => { });
        return context.Model;
    }

    private IModel Model(Action<ModelBuilder> model, string wiring, bool run = false)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
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
        return run ? context.Model : context.GetService<IDesignTimeModel>().Model;
    }

    public interface IHasText
    {
        string Text { get; }
    }

    public sealed class OtherField
    {
        [Encrypted]
        private string? _number;

        public int Id { get; set; }

        public string? Other { get; set; }

        public string? Ssn
        {
            get => _number;
            set => _number = value;
        }
    }

    public sealed class Owner
    {
        public int Id { get; set; }

        public Part Part { get; set; } = new();
    }

    public sealed class Part
    {
        [Encrypted]
        private string? _number;

        public string? Ssn
        {
            get => _number;
            set => _number = value;
        }
    }

    public abstract class Unmapped
    {
        [Encrypted]
        private string? _number;

        public string? Ssn
        {
            get => _number;
            set => _number = value;
        }
    }

    public sealed class OfBase : Unmapped
    {
        public int Id { get; set; }
    }

    public sealed class Getter(string ssn)
    {
        private readonly string _ssn = ssn;

        private Getter()
            : this("")
        {
        }

        public int Id { get; set; }

        [Encrypted]
        public string Ssn => _ssn;
    }

    public sealed class Private
    {
        public int Id { get; set; }

        public string? Ssn
        {
            get => Inner;
            set => Inner = value;
        }

        [Encrypted]
        private string? Inner { get; set; }
    }

    public sealed class Explicit : IHasText
    {
        public int Id { get; set; }

        public string Text { get; set; } = "";

        [Encrypted]
        string IHasText.Text => Text;
    }

    public abstract class Overridden
    {
        [field: Encrypted]
        public virtual string? Text { get; set; }
    }

    public sealed class Overriding : Overridden
    {
        public int Id { get; set; }

        public override string? Text { get; set; }
    }

    public sealed class Auto
    {
        public int Id { get; set; }

        [field: Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Paired
    {
        [Encrypted]
        private string? _text;

        public int Id { get; set; }

        public string? Text
        {
            get => _text;
            set => _text = value;
        }
    }

    public sealed class LeftOut
    {
        [Encrypted]
        [NotMapped]
        private string? _number;

        [Encrypted]
        private string? _note;

        public int Id { get; set; }

        public string? Ssn
        {
            get => _number;
            set => _number = value;
        }

        [Encrypted]
        [NotMapped]
        public string? Shown => _note + Note;

        [NotMapped]
        public string? Note
        {
            get => _note;
            set => _note = value;
        }

        [field: Encrypted]
        [NotMapped]
        public string? Scratch { get; set; }
    }

    public abstract class Hidden
    {
        [field: Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Hiding : Hidden
    {
        public int Id { get; set; }

        public new string? Text { get; set; }
    }

    public class MappedBase
    {
        [Encrypted]
        private protected string? _value;

        public int Id { get; set; }
    }

    public sealed class MapsField : MappedBase
    {
        public string? Value
        {
            get => _value;
            set => _value = value;
        }
    }
}
