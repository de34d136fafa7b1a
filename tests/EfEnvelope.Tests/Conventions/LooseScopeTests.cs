using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace EfEnvelope.Tests.Conventions;

public sealed class SqliteLooseScopeTests() : LooseScopeTests("SQLite");

public sealed class PostgresLooseScopeTests() : LooseScopeTests("PostgreSQL");

/// <summary>A column that chooses a row's key must give back what was stored, and hold different values apart: else a row is sealed with a key that its own value does not name.</summary>
public abstract class LooseScopeTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData("NOCASE", "collation 'NOCASE'")]
    [InlineData("fixed", "fixed length")]
    [InlineData("character(8)", "fixed length (character(8))")]
    [InlineData("char", "fixed length (char)")]
    [InlineData("citext", "type citext")]
    [InlineData("TEXT COLLATE NOCASE", "type TEXT COLLATE NOCASE")]
    [InlineData("varchar(8) collate \"de-x-icu\"", "by whose collation")]
    [InlineData("STRING", "keeps '007' as 7")]
    [InlineData("numeric(8)", "keeps '007' as 7")]
    public void A_tenant_or_row_bound_key_that_pads_or_compares_loosely_is_refused(string how, string message)
    {
        Assert.Contains(message, Refused(m => m.Entity<Note>(note =>
        {
            note.HasDataKeyPerTenant(n => n.Tenant);
            Loosen(note.Property(n => n.Tenant), how);
        })).Message, StringComparison.Ordinal);
        var error = Refused(m => m.Entity<Note>(note =>
        {
            note.Property(n => n.Text).IsEncrypted(e => e.IsRowBound());
            Loosen(note.Property(n => n.Code), how);
        }));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal("Code", error.Property);
    }

    [Theory]
    [InlineData("BINARY")]
    [InlineData("C")]
    [InlineData("character varying(8)")]
    [InlineData("varchar(8)")]
    [InlineData("text")]
    [InlineData("TEXT COLLATE BINARY")]
    [InlineData("text COLLATE \"C\"")]
    public void An_exact_one_is_served(string how)
    {
        using var context = New(m => m.Entity<Note>(note =>
        {
            note.HasDataKeyPerTenant(n => n.Tenant);
            Loosen(note.Property(n => n.Tenant), how);
        }));
        Assert.NotNull(context.Model.FindEntityType(typeof(Note)));
    }

    private static void Loosen(PropertyBuilder<string> property, string how)
    {
        switch (how)
        {
            case "NOCASE" or "BINARY" or "C":
                property.UseCollation(how);
                break;
            case "fixed":
                property.HasMaxLength(8).IsFixedLength();
                break;
            default:
                property.HasColumnType(how);
                break;
        }
    }

    private EnvelopeConfigurationException Refused(Action<ModelBuilder> model) => Assert.Throws<EnvelopeConfigurationException>(() =>
    {
        using var context = New(model);
        _ = context.Model;
    });

    private AdHocContext New(Action<ModelBuilder> model) => new(_database.Options(more: AdHocContext.Cached), m =>
    {
        m.Entity<Note>().HasKey(n => n.Code);
        model(m);
        m.UseEnvelopeEncryption();
    });

    private sealed class Note
    {
        public string Code { get; set; } = "";

        public string Tenant { get; set; } = "";

        [Encrypted]
        public string Text { get; set; } = "";
    }
}
