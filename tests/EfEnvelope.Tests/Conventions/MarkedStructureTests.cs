using System.ComponentModel.DataAnnotations.Schema;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteMarkedStructureTests() : MarkedStructureTests(o => o.UseSqlite("Data Source=:memory:"));

public sealed class PostgresMarkedStructureTests() : MarkedStructureTests(o => o.UseNpgsql("Host=nowhere.invalid"));

/// <summary>
/// <c>[Encrypted]</c> on what is no scalar (complex property, owned type, navigation) encrypts nothing, and is refused by name: also where nothing else is encrypted, and in a ready-made model. No database is reached.
/// </summary>
public abstract class MarkedStructureTests(Action<DbContextOptionsBuilder> provider)
{
    private static readonly Dictionary<string, Action<ModelBuilder>> Kinds = new()
    {
        ["Holder.Home: complex"] = m => Home(m, h => h.ComplexProperty(x => x.Home)),
        ["Holder.Home: complex JSON"] = m => Home(m, h => h.ComplexProperty(x => x.Home, home => home.ToJson())),
        ["Holder.Home: owned"] = m => Home(m, h => h.OwnsOne(x => x.Home)),
        ["Holder.Home: owned JSON"] = m => Home(m, h => h.OwnsOne(x => x.Home, home => home.ToJson())),
        ["Holder.Home: owned, in a table of its own"] = m => Home(m, h => h.OwnsOne(x => x.Home, home => home.ToTable("Homes"))),
        ["Holder.Home: of a derived type"] = m =>
        {
            Home(m, h => h.OwnsOne(x => x.Home));
            m.Entity<DerivedHolder>();
        },
        ["Several.Contacts: owned"] = m => m.Entity<Several>().OwnsMany(x => x.Contacts),
        ["Several.Contacts: owned JSON"] = m => m.Entity<Several>().OwnsMany(x => x.Contacts, contacts => contacts.ToJson()),
        ["Several.Contacts: complex JSON"] = m => m.Entity<Several>().ComplexCollection(x => x.Contacts, contacts => contacts.ToJson()),
        ["Outer.Inner: nested complex"] = m => m.Entity<Nested>().ComplexProperty(x => x.Outer, outer => outer.ComplexProperty(o => o.Inner)),
        ["Outer.Inner: nested owned"] = m => m.Entity<Nested>().OwnsOne(x => x.Outer, outer => outer.OwnsOne(o => o.Inner)),
        ["Kept._place: field"] = m => m.Entity<Kept>().OwnsOne<Address>("Place", place => { }).Navigation("Place").HasField("_place"),
        ["Orderer.Last: reference"] = m => m.Entity<Orderer>(),
        ["Group.Members: many to many"] = m => m.Entity<Group>().HasMany(g => g.Members).WithMany(g => g.Groups),
    };

    public static TheoryData<string, string> Matrix()
    {
        var data = new TheoryData<string, string>();
        foreach (var kind in Kinds.Keys)
        {
            foreach (var wiring in new[] { "on the options", "on the model", "in ConfigureConventions" })
            {
                data.Add(kind, wiring);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void A_structure_that_is_marked_as_a_whole_is_refused_by_name(string kind, string wiring)
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(Kinds[kind], wiring));
        var (entity, member) = (kind[..kind.IndexOf('.', StringComparison.Ordinal)], kind[(kind.IndexOf('.', StringComparison.Ordinal) + 1)..kind.IndexOf(':', StringComparison.Ordinal)]);
        Assert.Contains(entity, error.Entity, StringComparison.Ordinal);
        Assert.Equal(member == "_place" ? "Place" : member, error.Property);
        Assert.Contains($"{entity}.{error.Property}", error.Message.Replace('#', '.'), StringComparison.Ordinal);
        Assert.Contains("HasConversion", error.Message, StringComparison.Ordinal);
        Assert.Contains("encrypts nothing", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("on the options")]
    [InlineData("on the model")]
    [InlineData("in ConfigureConventions")]
    public void The_ways_out_are_served(string wiring)
    {
        var converted = Model(
            m =>
            {
                m.Entity<Holder>().Ignore(x => x.Plain).Property(x => x.Home).HasConversion(home => home.Street, street => new Address { Street = street });
            },
            wiring);
        Assert.True(converted.FindEntityType(typeof(Holder))!.FindProperty("Home")!.FindAnnotation("EfEnvelope:Column") is not null);
        Assert.NotNull(Model(m => m.Entity<Holder>(h => h.Ignore(x => x.Home).ComplexProperty(x => x.Plain)), wiring));
        Assert.NotNull(Model(m => m.Entity<Unmapped>(), wiring));
    }

    [Fact]
    public void A_ready_made_model_that_leaves_it_in_the_clear_is_refused()
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        provider(plain);
        AdHocContext.Cached(plain);
        IModel model;
        using (var context = new AdHocContext(plain.Options, Kinds["Holder.Home: owned"]))
        {
            model = context.Model;
        }

        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
        options.UseModel(model).UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var wired = new AdHocContext(options.Options, _ => { });
        var error = Assert.Throws<EnvelopeConfigurationException>(() => wired.Model);
        Assert.Equal(("Holder", "Home"), (error.Entity, error.Property));
    }

    private static void Home(ModelBuilder model, Action<Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Holder>> map)
        => model.Entity<Holder>(holder =>
        {
            holder.Ignore(h => h.Plain);
            map(holder);
        });

    private IModel Model(Action<ModelBuilder> model, string wiring)
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
        return context.GetService<IDesignTimeModel>().Model;
    }

    public class Holder
    {
        public int Id { get; set; }

        [Encrypted]
        public Address Home { get; set; } = new();

        public Marked Plain { get; set; } = new();
    }

    public sealed class DerivedHolder : Holder
    {
        public string? More { get; set; }
    }

    public sealed class Several
    {
        public int Id { get; set; }

        [Encrypted]
        public List<Address> Contacts { get; set; } = [];
    }

    public sealed class Nested
    {
        public int Id { get; set; }

        public Outer Outer { get; set; } = new();
    }

    public sealed class Outer
    {
        public string Name { get; set; } = "";

        [Encrypted]
        public Address Inner { get; set; } = new();
    }

    public sealed class Kept
    {
        [Encrypted]
        private Address? _place;

        public int Id { get; set; }

        public Address? Place
        {
            get => _place;
            set => _place = value;
        }
    }

    public sealed class Orderer
    {
        public int Id { get; set; }

        [Encrypted]
        public Order? Last { get; set; }
    }

    public sealed class Order
    {
        public int Id { get; set; }
    }

    public sealed class Group
    {
        public int Id { get; set; }

        [Encrypted]
        public List<Member> Members { get; set; } = [];
    }

    public sealed class Member
    {
        public int Id { get; set; }

        public List<Group> Groups { get; set; } = [];
    }

    public sealed class Unmapped
    {
        public int Id { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";

        [Encrypted]
        [NotMapped]
        public Address? Home { get; set; }
    }

    public sealed class Address
    {
        public string Street { get; set; } = "";
    }

    public sealed class Marked
    {
        [Encrypted]
        public string Street { get; set; } = "";
    }
}
