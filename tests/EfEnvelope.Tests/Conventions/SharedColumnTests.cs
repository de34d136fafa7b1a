using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteSharedColumnTests() : SharedColumnTests(o => o.UseSqlite("Data Source=:memory:"));

public sealed class PostgresSharedColumnTests() : SharedColumnTests(o => o.UseNpgsql("Host=nowhere.invalid"));

/// <summary>
/// One column id is one column (G3): two columns of one id, whose values would open in each other, are refused in every form of mapping, and so is a plaintext property on an encrypted one's column. No database is reached.
/// </summary>
public abstract class SharedColumnTests(Action<DbContextOptionsBuilder> provider)
{
    [Theory]
    [InlineData("complex")]
    [InlineData("owned")]
    [InlineData("owned JSON")]
    public void A_type_that_is_used_twice_under_one_id_is_refused(string how)
    {
        var error = Refused(m => m.Entity<Customer>(customer =>
        {
            switch (how)
            {
                case "complex":
                    customer.ComplexProperty(c => c.Home);
                    customer.ComplexProperty(c => c.Work);
                    break;
                case "owned":
                    customer.OwnsOne(c => c.Home);
                    customer.OwnsOne(c => c.Work);
                    break;
                default:
                    customer.OwnsOne(c => c.Home, home => home.ToJson());
                    customer.OwnsOne(c => c.Work, work => work.ToJson());
                    break;
            }
        }));
        Assert.Contains("column id 'address.street'", error.Message, StringComparison.Ordinal);
        Assert.Equal("Street", error.Property);
    }

    /// <summary>With columns of their own; one column that siblings share has one id.</summary>
    [Theory]
    [InlineData("TPH")]
    [InlineData("TPT")]
    [InlineData("TPC")]
    public void Siblings_of_a_hierarchy_with_columns_of_their_own_and_one_id_are_refused(string strategy)
        => Assert.Contains("column id 'note'", Refused(m => Hierarchy(m, strategy)).Message, StringComparison.Ordinal);

    [Fact]
    public void Siblings_that_share_a_column_share_its_id()
        => Accepted(m =>
        {
            Hierarchy(m, "TPH");
            m.Entity<Cat>().Property(c => c.Note).HasColumnName("Note");
            m.Entity<Dog>().Property(c => c.Note).HasColumnName("Note");
        });

    [Fact]
    public void The_abstract_base_of_tables_for_each_type_is_no_view()
    {
        var error = Refused(m =>
        {
            Hierarchy(m, "TPC");
            m.Entity<Cat>().Ignore(c => c.Note);
            m.Entity<Dog>().Ignore(c => c.Note);
            m.Entity<Supplier>().Property(s => s.Iban).IsEncrypted(e => e.HasColumnId("animal.name"));
        });
        Assert.Contains("column id 'animal.name'", error.Message, StringComparison.Ordinal);
        Accepted(m =>
        {
            Hierarchy(m, "TPC");
            m.Entity<Cat>().Ignore(c => c.Note);
            m.Entity<Dog>().Ignore(c => c.Note);
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Two_tables_of_one_id_are_refused_also_where_a_view_has_it_first(bool query)
    {
        void Model(ModelBuilder m, string? other)
        {
            _ = query ? m.Entity<AccountList>().HasNoKey().ToSqlQuery("SELECT \"Iban\" FROM \"Suppliers\"") : m.Entity<AccountList>().HasNoKey().ToView("Accounts");
            m.Entity<Payer>().ToTable("Payers");
            m.Entity<Supplier>().ToTable("Suppliers");
            if (other is not null)
            {
                m.Entity<Supplier>().Property(s => s.Iban).IsEncrypted(e => e.HasColumnId(other));
            }
        }

        Assert.Contains("column id 'iban'", Refused(m => Model(m, null)).Message, StringComparison.Ordinal);
        Accepted(m => Model(m, "supplier.iban"));
    }

    [Fact]
    public void A_former_id_of_another_column_is_refused_also_where_a_view_has_it_first()
    {
        var error = Refused(m =>
        {
            m.Entity<AccountList>().HasNoKey().ToView("Accounts");
            m.Entity<Payer>().ToTable("Payers");
            m.Entity<Supplier>().ToTable("Suppliers").Property(s => s.Iban).IsEncrypted(e => e.HasColumnId("supplier.iban").HasFormerColumnIds("iban"));
        });
        Assert.Contains("'iban' as a former column id", error.Message, StringComparison.Ordinal);
        Assert.Contains("Payer.Iban", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_history_keeps_the_values_of_its_own_source_only(bool alike)
    {
        void Model(ModelBuilder m)
        {
            m.Entity<Customer>(customer =>
            {
                customer.ComplexProperty(c => c.Home);
                customer.Ignore(c => c.Work);
            });
            m.Entity<Former>(former =>
            {
                former.ComplexProperty(c => c.Home);
                former.ComplexProperty(c => c.Else, other => _ = alike ? other.Property(a => a.Street).IsEncrypted() : other.Property(a => a.Street).IsEncrypted(e => e.HasColumnId("address.street")));
                former.IsEncryptedHistoryOf(typeof(Customer));
            });
        }

        if (alike)
        {
            Accepted(Model);
        }
        else
        {
            Assert.Contains("column id 'address.street'", Refused(Model).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("siblings, armoured")]
    [InlineData("siblings, binary")]
    [InlineData("owned beside its owner")]
    [InlineData("two entities of one row")]
    [InlineData("tables for each type")]
    public void A_plaintext_property_on_the_column_of_an_encrypted_one_is_refused(string how)
    {
        var error = Refused(m =>
        {
            switch (how)
            {
                case "siblings, armoured":
                    Siblings(m).Entity<Secret>().Property(x => x.Text).IsEncrypted(e => e.IsArmored()).HasColumnName("Value");
                    m.Entity<Open>().Property(x => x.Text).HasColumnName("Value");
                    break;
                case "siblings, binary":
                    Siblings(m).Entity<Secret>().Property(x => x.Text).IsEncrypted().HasColumnName("Value");
                    m.Entity<Open>().Property(x => x.Bytes).HasColumnName("Value");
                    break;
                case "owned beside its owner":
                    m.Entity<Holder>(holder =>
                    {
                        holder.Property(h => h.Text).IsEncrypted(e => e.IsArmored()).HasColumnName("Value");
                        holder.OwnsOne(h => h.Part, part => part.Property(p => p.Text).HasColumnName("Value"));
                    });
                    break;
                case "two entities of one row":
                    m.Entity<Payer>(e =>
                    {
                        e.ToTable("Shared").Property(x => x.Iban).HasColumnName("Value");
                        e.HasOne<Raw>().WithOne().HasForeignKey<Raw>(r => r.Id);
                    });
                    m.Entity<Raw>().ToTable("Shared").Property(r => r.Bytes).HasColumnName("Value");
                    break;
                default:
                    m.Entity<Value>().UseTpcMappingStrategy().Property<string?>("Hidden").IsEncrypted(e => e.IsArmored()).HasColumnName("Value");
                    m.Entity<Secret>().ToTable("Secrets");
                    m.Entity<Open>().ToTable("Opens").Property(x => x.Text).HasColumnName("Value");
                    break;
            }
        });
        Assert.Contains("is not encrypted", error.Message, StringComparison.Ordinal);
        Assert.Contains("shares column Value", error.Message, StringComparison.Ordinal);
        Assert.Contains("HasColumnName", error.Message, StringComparison.Ordinal);
    }

    /// <summary>By convention their columns have names of their own.</summary>
    [Fact]
    public void A_plaintext_sibling_of_the_same_name_has_a_column_of_its_own()
        => Accepted(m =>
        {
            Siblings(m).Entity<Secret>().Property(x => x.Text).IsEncrypted(e => e.IsArmored());
            m.Entity<Open>().Property(x => x.Text);
        });

    [Fact]
    public void A_view_or_a_query_may_read_the_raw_envelopes()
        => Accepted(m =>
        {
            m.Entity<Payer>().ToTable("Payers");
            m.Entity<Raw>().HasNoKey().ToView("Payers").Property(r => r.Bytes).HasColumnName("Iban");
            m.Entity<Raw2>().HasNoKey().ToSqlQuery("SELECT \"Iban\" FROM \"Payers\"").Property(r => r.Bytes).HasColumnName("Iban");
        });

    private static ModelBuilder Siblings(ModelBuilder model)
    {
        model.Entity<Value>().ToTable("Values");
        return model;
    }

    private static void Hierarchy(ModelBuilder model, string strategy)
    {
        var animal = model.Entity<Animal>();
        _ = strategy switch { "TPT" => animal.UseTptMappingStrategy(), "TPC" => animal.UseTpcMappingStrategy(), _ => animal.UseTphMappingStrategy() };
        model.Entity<Cat>();
        model.Entity<Dog>();
    }

    private EnvelopeConfigurationException Refused(Action<ModelBuilder> model) => Assert.Throws<EnvelopeConfigurationException>(() => Accepted(model));

    private void Accepted(Action<ModelBuilder> model)
    {
        var options = new DbContextOptionsBuilder().AmongMany();
        provider(options);
        AdHocContext.Cached(options);
        options.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        using var context = new AdHocContext(options.Options, model);
        Assert.NotNull(context.Model);
    }

    public sealed class Customer
    {
        public int Id { get; set; }

        public Address Home { get; set; } = new();

        public Address Work { get; set; } = new();
    }

    public sealed class Former
    {
        public int Id { get; set; }

        public Address Home { get; set; } = new();

        public PlainAddress Else { get; set; } = new();
    }

    public sealed class Address
    {
        [Encrypted(ColumnId = "address.street")]
        public string Street { get; set; } = "";
    }

    public sealed class PlainAddress
    {
        public string Street { get; set; } = "";
    }

    public abstract class Animal
    {
        public int Id { get; set; }

        [Encrypted(ColumnId = "animal.name")]
        public string Name { get; set; } = "";
    }

    public sealed class Cat : Animal
    {
        [Encrypted(ColumnId = "note")]
        public string? Note { get; set; }
    }

    public sealed class Dog : Animal
    {
        [Encrypted(ColumnId = "note")]
        public string? Note { get; set; }
    }

    public sealed class AccountList
    {
        [Encrypted(ColumnId = "iban")]
        public string? Iban { get; set; }
    }

    public sealed class Payer
    {
        public int Id { get; set; }

        [Encrypted(ColumnId = "iban")]
        public string? Iban { get; set; }
    }

    public sealed class Supplier
    {
        public int Id { get; set; }

        [Encrypted(ColumnId = "iban")]
        public string? Iban { get; set; }
    }

    public sealed class Raw
    {
        public int Id { get; set; }

        public byte[]? Bytes { get; set; }
    }

    public sealed class Raw2
    {
        public byte[]? Bytes { get; set; }
    }

    public class Value
    {
        public int Id { get; set; }
    }

    public sealed class Secret : Value
    {
        public string? Text { get; set; }
    }

    public sealed class Open : Value
    {
        public string? Text { get; set; }

        public byte[]? Bytes { get; set; }
    }

    public sealed class Holder
    {
        public int Id { get; set; }

        public string? Text { get; set; }

        public Part Part { get; set; } = new();
    }

    public sealed class Part
    {
        public string? Text { get; set; }
    }
}
