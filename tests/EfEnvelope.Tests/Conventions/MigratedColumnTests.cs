using System.Data.Common;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.EntityFrameworkCore.Migrations.Operations;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteMigratedColumnTests() : MigratedColumnTests("SQLite");

public sealed class PostgresMigratedColumnTests() : MigratedColumnTests("PostgreSQL");

/// <summary>What a migration makes of encrypted columns: no rename changes the id under which their values were sealed, and no row gets a value that is no envelope.</summary>
public abstract class MigratedColumnTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("property")]
    [InlineData("column kept")]
    [InlineData("class")]
    [InlineData("id")]
    public void A_rename_that_changes_the_column_id_is_refused_and_names_both_ways_out(string renamed)
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Differences(Ssn, m => Renamed(m, renamed)));
        Assert.Equal(renamed == "class" ? "Client" : "Person", error.Entity);
        Assert.Contains("column id 'Person.Ssn'", error.Message, StringComparison.Ordinal);
        Assert.Contains("[Encrypted(ColumnId = \"Person.Ssn\")]", error.Message, StringComparison.Ordinal);
        Assert.Contains("FormerColumnIds = [\"Person.Ssn\"]", error.Message, StringComparison.Ordinal);

        // Both ways out, and the way back that the same migration gets.
        Action<ModelBuilder> kept = m => Renamed(m, renamed, e => e.HasColumnId("Person.Ssn")), declared = m => Renamed(m, renamed, e => e.HasFormerColumnIds("Person.Ssn"));
        Assert.All(Differences(Ssn, kept), o => Assert.True(o is RenameColumnOperation, o.GetType().Name));
        Differences(Ssn, declared);
        Differences(declared, Ssn);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_member_of_a_document_whose_column_id_changes_is_refused(bool owned)
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Differences(m => Document(m, owned, null), m => Document(m, owned, e => e.HasColumnId("else"))));
        Assert.Contains("hold 'Street' under column id 'Filed.Place.Street'", error.Message, StringComparison.Ordinal);
        Assert.Contains("FormerColumnIds = [\"Filed.Place.Street\"]", error.Message, StringComparison.Ordinal);
        Action<ModelBuilder> declared = m => Document(m, owned, e => e.HasColumnId("else").HasFormerColumnIds("Filed.Place.Street"));
        Assert.Empty(Differences(m => Document(m, owned, null), declared));
        Assert.Empty(Differences(declared, m => Document(m, owned, null)));
    }

    /// <summary>EF's default for the rows that are there is an empty value, which no read would open.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_required_column_is_added_to_an_empty_table_and_fails_on_rows(bool armored)
    {
        await MigrateAsync(null, Bare);
        var add = Differences(Bare, m => Noted(m, armored, required: true));
        Assert.Null(Assert.Single(add.OfType<AddColumnOperation>()).DefaultValue);
        await MigrateAsync(Bare, m => Noted(m, armored, required: true));
        await MigrateAsync(m => Noted(m, armored, required: true), Bare);

        await _database.ExecuteAsync("INSERT INTO \"People\" (\"Ssn\") VALUES (NULL)");
        await Assert.ThrowsAnyAsync<DbException>(() => MigrateAsync(Bare, m => Noted(m, armored, required: true)));
        await Assert.ThrowsAnyAsync<DbException>(() => _database.ScalarAsync("SELECT \"People\".\"Note\" FROM \"People\""));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_column_becomes_required_when_every_row_has_a_value_and_fails_before(bool armored)
    {
        Action<ModelBuilder> nullable = m => Noted(m, armored, required: false), required = m => Noted(m, armored, required: true);
        await MigrateAsync(null, nullable);
        await _database.ExecuteAsync("INSERT INTO \"People\" (\"Ssn\") VALUES (NULL)");
        Assert.Null(Assert.Single(Differences(nullable, required).OfType<AlterColumnOperation>()).DefaultValue);
        await Assert.ThrowsAnyAsync<DbException>(() => MigrateAsync(nullable, required));
        Assert.Null(await _database.ScalarAsync("SELECT \"People\".\"Note\" FROM \"People\""));

        await using (var context = New(nullable))
        {
            (await context.Set<Person>().SingleAsync()).Note = "filled";
            await context.SaveChangesAsync();
        }

        await MigrateAsync(nullable, required);
        await using var reader = New(required);
        Assert.Equal("filled", (await reader.Set<Person>().SingleAsync()).Note);
        await Assert.ThrowsAnyAsync<DbException>(() => _database.ExecuteAsync("INSERT INTO \"People\" (\"Ssn\") VALUES (NULL)"));
    }

    [Fact]
    public void Plain_columns_keep_their_defaults()
    {
        static void Plain(ModelBuilder m)
        {
            Bare(m);
            m.Entity<Person>().Property<string>("Plain").IsRequired();
        }

        Assert.Equal("", Assert.Single(Differences(Bare, Plain).OfType<AddColumnOperation>()).DefaultValue);
    }

    private static void Ssn(ModelBuilder model)
    {
        model.Entity<Person>().ToTable("People").Ignore(p => p.TaxId).Ignore(p => p.Note).Property(p => p.Ssn).IsEncrypted();
        model.UseEnvelopeEncryption();
    }

    private static void Renamed(ModelBuilder model, string what, Action<EncryptedPropertyOptions>? options = null)
    {
        switch (what)
        {
            case "class":
                model.Entity<Client>().ToTable("People").Property(p => p.Ssn).IsEncrypted(options);
                break;
            case "id":
                model.Entity<Person>().ToTable("People").Ignore(p => p.TaxId).Ignore(p => p.Note).Property(p => p.Ssn).IsEncrypted(e =>
                {
                    e.HasColumnId("ssn");
                    options?.Invoke(e);
                });
                break;
            default:
                var property = model.Entity<Person>().ToTable("People").Ignore(p => p.Ssn).Ignore(p => p.Note).Property(p => p.TaxId).IsEncrypted(options);
                if (what == "column kept")
                {
                    property.HasColumnName("Ssn");
                }

                break;
        }

        model.UseEnvelopeEncryption();
    }

    private static void Bare(ModelBuilder model)
    {
        model.Entity<Person>().ToTable("People").Ignore(p => p.TaxId).Ignore(p => p.Note).Property(p => p.Ssn).IsEncrypted();
        model.UseEnvelopeEncryption();
    }

    private static void Noted(ModelBuilder model, bool armored, bool required)
    {
        model.Entity<Person>(person =>
        {
            person.ToTable("People").Ignore(p => p.TaxId).Property(p => p.Ssn).IsEncrypted();
            person.Property(p => p.Note).IsRequired(required).IsEncrypted(e => e.IsArmored(armored));
        });
        model.UseEnvelopeEncryption();
    }

    private static void Document(ModelBuilder model, bool owned, Action<EncryptedPropertyOptions>? options)
    {
        model.Entity<Filed>(filed =>
        {
            if (owned)
            {
                filed.OwnsOne(f => f.Place, place => place.ToJson().Property(p => p.Street).IsEncrypted(options));
            }
            else
            {
                filed.ComplexProperty(f => f.Place, place => place.ToJson().Property(p => p.Street).IsEncrypted(options));
            }
        });
        model.UseEnvelopeEncryption();
    }

    private IReadOnlyList<MigrationOperation> Differences(Action<ModelBuilder>? before, Action<ModelBuilder> after)
    {
        using var old = before is null ? null : New(before);
        using var now = New(after);
        return now.GetService<IMigrationsModelDiffer>().GetDifferences(
            old?.GetService<IDesignTimeModel>().Model.GetRelationalModel(), now.GetService<IDesignTimeModel>().Model.GetRelationalModel());
    }

    private async Task MigrateAsync(Action<ModelBuilder>? before, Action<ModelBuilder> after)
    {
        await using var context = New(after);
        var commands = context.GetService<IMigrationsSqlGenerator>().Generate(Differences(before, after), context.GetService<IDesignTimeModel>().Model);
        await context.GetService<IMigrationCommandExecutor>().ExecuteNonQueryAsync(commands, context.GetService<IRelationalConnection>());
    }

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), model);

    private sealed class Person
    {
        public int Id { get; set; }

        public string? Ssn { get; set; }

        public string? TaxId { get; set; }

        public string? Note { get; set; }
    }

    private sealed class Client
    {
        public int Id { get; set; }

        public string? Ssn { get; set; }
    }

    private sealed class Filed
    {
        public int Id { get; set; }

        public Place Place { get; set; } = new();
    }

    private sealed class Place
    {
        public string Street { get; set; } = "";
    }
}
