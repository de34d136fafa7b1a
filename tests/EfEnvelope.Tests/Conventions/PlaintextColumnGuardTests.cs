using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.EntityFrameworkCore.Migrations.Operations;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqlitePlaintextColumnGuardTests() : PlaintextColumnGuardTests("SQLite");

public sealed class PostgresPlaintextColumnGuardTests() : PlaintextColumnGuardTests("PostgreSQL");

/// <summary>A migration never changes in place what a column holds: plaintext, binary envelopes or armour. The way out is allowed.</summary>
public abstract class PlaintextColumnGuardTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_existing_plaintext_column_is_not_encrypted_in_place(bool armored)
    {
        var error = Refused(Plain, m => Encrypted(m, armored));
        Assert.Equal(("Person", "Name"), (error.Entity, error.Property));
        Assert.Contains("People.Name exists and holds plaintext", error.Message, StringComparison.Ordinal);
        Assert.Contains("HasColumnName(\"NameEncrypted\")", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Each would reach the old bytes under a new name.</summary>
    [Theory]
    [InlineData("table")]
    [InlineData("schema")]
    [InlineData("column")]
    [InlineData("table and column")]
    public void A_rename_in_the_same_migration_hides_nothing(string renamed)
    {
        var error = Refused(Plain, m =>
        {
            Encrypted(m, armored: true);
            if (renamed.Contains("table", StringComparison.Ordinal))
            {
                m.Entity<Person>().ToTable("Persons");
            }

            if (renamed == "schema")
            {
                m.Entity<Person>().ToTable("People", "hr");
            }

            if (renamed.Contains("column", StringComparison.Ordinal))
            {
                m.Entity<Person>().Property(p => p.Name).HasColumnName("Label");
            }
        });
        Assert.Contains("People.Name exists and holds plaintext", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_envelope_column_is_not_decrypted_in_place()
    {
        var error = Refused(m => Encrypted(m), Plain);
        Assert.Equal(("Person", "Name"), (error.Entity, error.Property));
        Assert.Contains("holds envelopes of column id 'Person.Name'", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_form_of_envelopes_is_not_changed_in_place(bool armored)
        => Assert.Contains(armored ? "as text armour" : "in binary", Refused(m => Encrypted(m, armored), m => Encrypted(m, !armored)).Message, StringComparison.Ordinal);

    /// <summary>A new column beside the old one, then the old one goes; and back again.</summary>
    [Fact]
    public void The_way_out_is_allowed()
    {
        void Beside(ModelBuilder m)
        {
            Plain(m);
            m.Entity<Person>().Property<string?>("Secret").IsEncrypted().HasColumnName("NameEncrypted");
        }

        void After(ModelBuilder m)
        {
            m.Entity<Person>().ToTable("People").Ignore(p => p.Name);
            m.Entity<Person>().Property<string?>("Secret").IsEncrypted().HasColumnName("NameEncrypted");
            m.UseEnvelopeEncryption();
        }

        Assert.Contains(Differences(Plain, Beside), o => o is AddColumnOperation { Name: "NameEncrypted" });
        Assert.Contains(Differences(Beside, After), o => o is DropColumnOperation { Name: "Name" });
        Assert.Contains(Differences(After, Beside), o => o is AddColumnOperation { Name: "Name" });
        Assert.Contains(Differences(Beside, Plain), o => o is DropColumnOperation { Name: "NameEncrypted" });
    }

    /// <summary>EF takes a column that goes and one of the same type that comes for a renamed one: who kept the id, as for a renamed property, would move the former one's values.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_column_that_goes_and_another_that_comes_are_two_migrations(bool encrypted)
    {
        void Bare(ModelBuilder m)
        {
            m.Entity<Person>().ToTable("People").Ignore(p => p.Name);
            m.UseEnvelopeEncryption();
        }

        void With(ModelBuilder m, string name, bool isEncrypted)
        {
            m.Entity<Person>().ToTable("People").Ignore(p => p.Name);
            _ = isEncrypted ? m.Entity<Person>().Property<string?>(name).IsEncrypted() : (object)m.Entity<Person>().Property<byte[]?>(name);
            m.UseEnvelopeEncryption();
        }

        var error = Refused(m => With(m, "Former", encrypted), m => With(m, "Phone", isEncrypted: true));
        Assert.Equal("Phone", error.Property);
        Assert.Contains("If Phone is another property than Former, and not Former renamed: remove Former in a migration of its own, and add Phone in the next one", error.Message, StringComparison.Ordinal);
        Assert.Contains(encrypted ? "Else: A renamed class or property keeps the id: [Encrypted(ColumnId = \"Person.Former\")]" : "Former exists and holds plaintext", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("PhoneEncrypted", error.Message, StringComparison.Ordinal);

        Assert.IsType<DropColumnOperation>(Assert.Single(Differences(m => With(m, "Former", encrypted), Bare)));
        Assert.IsType<AddColumnOperation>(Assert.Single(Differences(Bare, m => With(m, "Phone", isEncrypted: true))));
    }

    /// <summary>A new column's name alone is a rename to EF; where another property keeps the old column, it is a new column.</summary>
    [Fact]
    public void The_advice_leads_out_where_it_is_followed_by_half_too()
    {
        void Half(ModelBuilder m)
        {
            m.Entity<Person>().ToTable("People").Property(p => p.Name).HasColumnName("NameEncrypted").IsEncrypted();
            m.UseEnvelopeEncryption();
        }

        void Whole(ModelBuilder m)
        {
            m.Entity<Person>().Property<string?>("NamePlain").HasColumnName("Name");
            Half(m);
        }

        var error = Refused(Plain, Half);
        Assert.Contains("HasColumnName(\"NameEncrypted\")), and keep the old one by another property meanwhile (HasColumnName(\"Name\"))", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("If Name is another", error.Message, StringComparison.Ordinal);
        Assert.Contains(Differences(Plain, Whole), o => o is AddColumnOperation { Name: "NameEncrypted" });
        Assert.Contains(Differences(Whole, Half), o => o is DropColumnOperation { Name: "Name" });
    }

    [Fact]
    public void Envelope_columns_that_move_or_stay_are_allowed()
    {
        Assert.Contains(Differences(m => Encrypted(m), Renamed), o => o is RenameTableOperation);
        Assert.Contains(Differences(m => m.UseEnvelopeEncryption(), m => Encrypted(m)), o => o is CreateTableOperation { Name: "People" });
        Assert.Empty(Differences(m => Encrypted(m), m => Encrypted(m, armored: false)));
        Assert.Contains(Differences(m => Encrypted(m), m => m.UseEnvelopeEncryption()), o => o is DropTableOperation { Name: "People" });

        static void Renamed(ModelBuilder m)
        {
            Encrypted(m);
            m.Entity<Person>().ToTable("Persons").Property(p => p.Name).HasColumnName("Label");
        }
    }

    [Fact]
    public async Task Nothing_is_written_and_the_plaintext_stays_as_it_was()
    {
        await using (var context = New(Plain))
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Person { Name = "before" });
            await context.SaveChangesAsync();
        }

        Refused(Plain, m => Encrypted(m));
        Assert.Equal("before", await _database.ScalarAsync("SELECT \"Name\" FROM \"People\""));

        // Who changes the model without a migration reads no plaintext.
        await using var encrypted = New(m => Encrypted(m, armored: true));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => encrypted.Set<Person>().ToListAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_member_of_an_existing_JSON_document_is_neither_encrypted_nor_decrypted_in_place(bool owned)
    {
        var error = Refused(m => Document(m, owned, encrypted: false), m => Document(m, owned, encrypted: true));
        Assert.Equal("Street", error.Property);
        Assert.Contains("hold 'Inner.Street' as plaintext", error.Message, StringComparison.Ordinal);
        Assert.Contains("as envelopes", Refused(m => Document(m, owned, encrypted: true), m => Document(m, owned, encrypted: false)).Message, StringComparison.Ordinal);

        // The way out, and what touches no encrypted member.
        Differences(m => Document(m, owned, encrypted: false), m => Document(m, owned, encrypted: true, name: "StreetEncrypted"));
        Differences(m => Document(m, owned, encrypted: true), m => Document(m, owned, encrypted: true));
        Differences(m => m.UseEnvelopeEncryption(), m => Document(m, owned, encrypted: true));
    }

    private static void Document(ModelBuilder model, bool owned, bool encrypted, string name = "Street")
    {
        model.Entity<Holder>(holder =>
        {
            if (owned)
            {
                holder.OwnsOne(h => h.Place, place =>
                {
                    place.ToJson();
                    place.OwnsOne(p => p.Inner, inner =>
                    {
                        var street = inner.Property(i => i.Street).HasJsonPropertyName(name);
                        _ = encrypted ? street.IsEncrypted() : street;
                    });
                });
            }
            else
            {
                holder.ComplexProperty(h => h.Place, place =>
                {
                    place.ToJson();
                    place.ComplexProperty(p => p.Inner, inner =>
                    {
                        var street = inner.Property(i => i.Street).HasJsonPropertyName(name);
                        _ = encrypted ? street.IsEncrypted() : street;
                    });
                });
            }
        });
        model.UseEnvelopeEncryption();
    }

    private EnvelopeConfigurationException Refused(Action<ModelBuilder> before, Action<ModelBuilder> after) => Assert.Throws<EnvelopeConfigurationException>(() => Differences(before, after));

    private IReadOnlyList<MigrationOperation> Differences(Action<ModelBuilder> before, Action<ModelBuilder> after)
    {
        using var old = New(before);
        using var now = New(after);
        return now.GetService<IMigrationsModelDiffer>().GetDifferences(
            old.GetService<IDesignTimeModel>().Model.GetRelationalModel(), now.GetService<IDesignTimeModel>().Model.GetRelationalModel());
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), new Action<ModelBuilder>(model));

    private static void Plain(ModelBuilder model)
    {
        model.Entity<Person>().ToTable("People");
        model.UseEnvelopeEncryption();
    }

    private static void Encrypted(ModelBuilder model, bool armored = false)
    {
        model.Entity<Person>().ToTable("People").Property(p => p.Name).IsEncrypted(e => e.IsArmored(armored));
        model.UseEnvelopeEncryption();
    }

    private sealed class Holder
    {
        public int Id { get; set; }

        public Place Place { get; set; } = new();
    }

    private sealed class Place
    {
        public Inner Inner { get; set; } = new();
    }

    private sealed class Inner
    {
        public string Street { get; set; } = "";
    }

    private sealed class Person
    {
        public int Id { get; set; }

        public required string Name { get; set; }
    }
}
