using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteInheritedScopeTests() : InheritedScopeTests(o => o.UseSqlite("Data Source=:memory:"));

public sealed class PostgresInheritedScopeTests() : InheritedScopeTests(o => o.UseNpgsql("Host=nowhere.invalid"));

/// <summary>A declaration on a class between two mapped ones is of a derived type, and refused like one on the derived type itself; one above the root is the root's. No database is reached.</summary>
public abstract class InheritedScopeTests(Action<DbContextOptionsBuilder> provider)
{
    [Fact]
    public void A_scope_between_two_mapped_classes_is_refused()
    {
        foreach (var derived in new Action<ModelBuilder>[] { m => m.Entity<Cat>(), m => m.Entity<Dog>(), m => m.Entity<Hen>() })
        {
            var error = Assert.Throws<EnvelopeConfigurationException>(() => Model(m =>
            {
                m.Entity<Animal>();
                derived(m);
            }));
            Assert.Contains(error.Entity, new[] { "Cat", "Dog", "Hen" });
            Assert.Contains("Declare it on the root", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_history_between_two_mapped_classes_is_refused()
        => Assert.Contains("only the root entity of a hierarchy can be", Assert.Throws<EnvelopeConfigurationException>(() => Model(m =>
        {
            m.Entity<Patient>();
            m.Entity<Animal>();
            m.Entity<Fossil>();
        })).Message, StringComparison.Ordinal);

    [Fact]
    public void A_scope_above_the_root_is_the_roots()
    {
        var model = Model(m =>
        {
            m.Entity<Cat>();
            m.Entity<Kitten>();
        });
        Assert.Equal("tenant|Tenant", model.FindEntityType(typeof(Cat))!.FindAnnotation("EfEnvelope:Scope")?.Value);
        Assert.Null(model.FindEntityType(typeof(Kitten))!.FindAnnotation("EfEnvelope:Scope"));
    }

    private IModel Model(Action<ModelBuilder> model)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
        AdHocContext.Cached(options);
        options.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var context = new AdHocContext(options.Options, model);
        return context.Model;
    }

    public class Animal
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    [DataKeyPerTenant(nameof(Tenant))]
    public abstract class TenantAnimal : Animal;

    [DataKeyPerSubject("animal", nameof(Tenant))]
    public abstract class SubjectAnimal : Animal;

    [DataKeyPerRow]
    public abstract class RowAnimal : Animal;

    public class Cat : TenantAnimal;

    public sealed class Kitten : Cat;

    public sealed class Dog : SubjectAnimal;

    public sealed class Hen : RowAnimal;

    [EncryptedHistoryOf(typeof(Patient))]
    public abstract class FormerAnimal : Animal;

    public sealed class Fossil : FormerAnimal;

    public sealed class Patient
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }
}
