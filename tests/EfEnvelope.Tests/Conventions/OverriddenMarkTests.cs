using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteOverriddenMarkTests() : OverriddenMarkTests(o => o.UseSqlite("Data Source=:memory:"));

public sealed class PostgresOverriddenMarkTests() : OverriddenMarkTests(o => o.UseNpgsql("Host=nowhere.invalid"));

/// <summary>
/// <c>[Encrypted]</c> on a member that EF does not look at (an override of what a mapped base declares, an interface), and a data key scope on a complex type, encrypt nothing, or not under that key: refused, naming the place that counts. No database is reached.
/// </summary>
public abstract class OverriddenMarkTests(Action<DbContextOptionsBuilder> provider)
{
    private static readonly Dictionary<string, (Action<ModelBuilder> Map, string Place)> Kinds = new()
    {
        ["override, one table"] = (m => People(m), "Person.Ssn"),
        ["override, a table for each type"] = (m => People(m).UseTptMappingStrategy(), "Person.Ssn"),
        ["override, a table for each concrete type"] = (m => People(m).UseTpcMappingStrategy(), "Person.Ssn"),
        ["override in an unmapped class between"] = (m =>
        {
            m.Entity<Person>();
            m.Entity<Special>();
        }, "Person.Ssn"),
        ["interface of a nested complex type"] = (m => m.Entity<Owner>().ComplexProperty(o => o.Parts, parts => parts.ComplexProperty(p => p.Detail)), "Detail.Text"),
        ["interface"] = (m => m.Entity<Citizen>(), "Citizen.Ssn"),
        ["interface, implemented by a mapped base"] = (m =>
        {
            m.Entity<Named>();
            m.Entity<NamedCitizen>();
        }, "Named.Ssn"),
        ["interface of a complex type"] = (m => m.Entity<Holder>().ComplexProperty(h => h.Papers), "Papers.Ssn"),
        ["interface of a complex type in JSON"] = (m => m.Entity<Holder>().ComplexProperty(h => h.Papers, p => p.ToJson()), "Papers.Ssn"),
        ["interface of an owned type"] = (m => m.Entity<Holder>().OwnsOne(h => h.Papers), "Papers.Ssn"),
        ["generic interface"] = (m => m.Entity<Generic>(), "Generic.Value"),
        ["explicit implementation beside a property of the name"] = (m => m.Entity<Explicit>(), "Explicit.Ssn"),
        ["override of a structure"] = (m =>
        {
            m.Entity<Housed>().ComplexProperty(h => h.Home);
            m.Entity<Rehoused>();
        }, "Home"),
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
    public void A_mark_that_EF_does_not_see_is_refused_and_says_where_to_put_it(string kind, string wiring)
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(Kinds[kind].Map, wiring));
        Assert.Equal(Kinds[kind].Place[(Kinds[kind].Place.IndexOf('.', StringComparison.Ordinal) + 1)..], error.Property);
        Assert.Contains(Kinds[kind].Place, error.Message, StringComparison.Ordinal);
        Assert.Contains("in the clear", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("on the options")]
    [InlineData("on the model")]
    [InlineData("in ConfigureConventions")]
    public void The_ways_out_are_served(string wiring)
    {
        foreach (var leave in new[] { false, true })
        {
            var model = Model(
                m =>
                {
                    People(m);
                    var ssn = m.Entity<Person>().Property(p => p.Ssn);
                    _ = leave ? ssn.IsNotEncrypted() : ssn.IsEncrypted();
                },
                wiring);
            Assert.Equal(!leave, model.FindEntityType(typeof(Person))!.FindProperty("Ssn")!.FindAnnotation("EfEnvelope:Column") is not null);
        }

        Assert.NotNull(Model(m => m.Entity<Citizen>().Ignore(c => c.Ssn), wiring));

        // What the base's mark, or the implementation's own, says already; and a member of the name that is another one.
        Assert.NotNull(Model(m => m.Entity<MarkedBoth>(), wiring).FindEntityType(typeof(MarkedBoth))!.FindProperty("Ssn")!.FindAnnotation("EfEnvelope:Column"));
        Assert.NotNull(Model(m => m.Entity<Hiding>(), wiring));
    }

    [Fact]
    public void A_ready_made_model_is_refused_too()
    {
        var plain = new DbContextOptionsBuilder().AmongMany();
        provider(plain);
        AdHocContext.Cached(plain);
        IModel model;
        using (var context = new AdHocContext(plain.Options, m => People(m)))
        {
            model = context.Model;
        }

        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
        options.UseModel(model).UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var wired = new AdHocContext(options.Options, _ => { });
        Assert.Contains("Person.Ssn", Assert.Throws<EnvelopeConfigurationException>(() => wired.Model).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(nameof(Scoped.PerTenant), "on the options")]
    [InlineData(nameof(Scoped.PerSubject), "on the options")]
    [InlineData(nameof(Scoped.PerRow), "on the options")]
    [InlineData(nameof(Scoped.PerTenant), "on the model")]
    [InlineData(nameof(Scoped.PerSubject), "in ConfigureConventions")]
    public void A_data_key_scope_on_a_complex_type_is_refused(string member, string wiring)
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(
            m => m.Entity<Scoped>(scoped =>
            {
                scoped.Property(s => s.Secret).IsEncrypted();
                foreach (var other in new[] { nameof(Scoped.PerTenant), nameof(Scoped.PerSubject), nameof(Scoped.PerRow) }.Where(o => o != member))
                {
                    scoped.Ignore(other);
                }

                scoped.ComplexProperty(typeof(Scoped).GetProperty(member)!.PropertyType, member);
            }),
            wiring));
        Assert.Contains(member, error.Entity, StringComparison.Ordinal);
        Assert.Contains("Scoped", error.Message, StringComparison.Ordinal);
        Assert.Contains("complex type", error.Message, StringComparison.Ordinal);
    }

    private static Microsoft.EntityFrameworkCore.Metadata.Builders.EntityTypeBuilder<Person> People(ModelBuilder model)
    {
        var person = model.Entity<Person>();
        model.Entity<Customer>();
        return person;
    }

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

    public interface IHasSsn
    {
        [Encrypted]
        string Ssn { get; }
    }

    public interface IHasValue<T>
    {
        [Encrypted]
        T Value { get; set; }
    }

    public class Person
    {
        public int Id { get; set; }

        public virtual string? Ssn { get; set; }
    }

    public sealed class Customer : Person
    {
        [Encrypted]
        public override string? Ssn { get; set; }
    }

    public abstract class Between : Person
    {
        [Encrypted]
        public override string? Ssn { get; set; }
    }

    public sealed class Special : Between;

    public sealed class Owner
    {
        public int Id { get; set; }

        public Parts Parts { get; set; } = new();
    }

    public sealed class Parts
    {
        public Detail Detail { get; set; } = new();
    }

    public sealed class Detail : IHasText
    {
        public string Text { get; set; } = "";
    }

    public interface IHasText
    {
        [Encrypted]
        string Text { get; set; }
    }

    public sealed class Citizen : IHasSsn
    {
        public int Id { get; set; }

        public string Ssn { get; set; } = "";
    }

    public class Named
    {
        public int Id { get; set; }

        public string Ssn { get; set; } = "";
    }

    public sealed class NamedCitizen : Named, IHasSsn;

    public sealed class Holder
    {
        public int Id { get; set; }

        public Papers Papers { get; set; } = new();
    }

    public sealed class Papers : IHasSsn
    {
        public string Ssn { get; set; } = "";
    }

    public sealed class Generic : IHasValue<decimal>
    {
        public int Id { get; set; }

        public decimal Value { get; set; }
    }

    public sealed class Explicit : IHasSsn
    {
        public int Id { get; set; }

        public string Ssn { get; set; } = "";

        string IHasSsn.Ssn => Ssn;
    }

    public class Housed
    {
        public int Id { get; set; }

        public virtual House Home { get; set; } = new();
    }

    public sealed class Rehoused : Housed
    {
        [Encrypted]
        public override House Home { get; set; } = new();
    }

    public sealed class House
    {
        public string Street { get; set; } = "";
    }

    public sealed class MarkedBoth : IHasSsn
    {
        public int Id { get; set; }

        [Encrypted]
        public string Ssn { get; set; } = "";
    }

    public class Hidden
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Ssn { get; set; }
    }

    /// <summary>Its own property is another one, which says for itself that it is plain.</summary>
    public sealed class Hiding : Hidden
    {
        public new string? Ssn { get; set; }
    }

    public sealed class Scoped
    {
        public int Id { get; set; }

        public string Secret { get; set; } = "";

        public TenantPart PerTenant { get; set; } = new();

        public SubjectPart PerSubject { get; set; } = new();

        public RowPart PerRow { get; set; } = new();
    }

    [DataKeyPerTenant(nameof(TenantId))]
    public sealed class TenantPart
    {
        public string TenantId { get; set; } = "";
    }

    [DataKeyPerSubject("customer", nameof(CustomerId))]
    public sealed class SubjectPart
    {
        public string CustomerId { get; set; } = "";
    }

    [DataKeyPerRow]
    public sealed class RowPart
    {
        public string Text { get; set; } = "";
    }
}
