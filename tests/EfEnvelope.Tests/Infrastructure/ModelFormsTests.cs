using EfEnvelope.JobProcess.Load;
using EfEnvelope.Metadata;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Tests.Infrastructure;

public sealed class SqliteModelFormsTests() : ModelFormsTests("SQLite");

public sealed class PostgresModelFormsTests() : ModelFormsTests("PostgreSQL");

/// <summary>Attributes, fluent calls and calls by name say the same, wherever encryption is switched on: on the model, in the conventions, or on the options alone.</summary>
public abstract partial class ModelFormsTests(string provider) : IAsyncLifetime
{
    private static readonly Action<ModelBuilder>[] Wirings = [m => m.UseEnvelopeEncryption(), _ => { }, _ => { }];

    private static readonly (string Name, Action<ModelBuilder> Model, Func<DbContext, int, Task> Save, Func<DbContext, Task<string[]>> Read)[] Forms =
    [
        ("attributes", Attributes.Configure, Attributes.SaveAsync, Attributes.ReadAsync),
        ("fluent", Fluent.Configure, Fluent.SaveAsync, Fluent.ReadAsync),
        ("fluent by name", Fluent.ConfigureByName, Fluent.SaveAsync, Fluent.ReadAsync),
    ];

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task Every_form_writes_what_every_other_reads()
    {
        var expected = new List<string>();
        var row = 0;
        foreach (var (_, model, save, _) in Forms)
        {
            for (var wiring = 0; wiring < 3; wiring++)
            {
                await using var context = New(model, wiring);
                if (row == 0)
                {
                    await context.Database.EnsureCreatedAsync();
                }

                await save(context, ++row);
                expected.AddRange($"canary card {row}", $"canary letter {row}", $"canary entry {row}", $"canary phone {row}", $"{row},{row}");
            }
        }

        expected.Sort(StringComparer.Ordinal);
        foreach (var (name, model, _, read) in Forms)
        {
            for (var wiring = 0; wiring < 3; wiring++)
            {
                await using var context = New(model, wiring);
                Assert.True(expected.SequenceEqual((await read(context)).Order(StringComparer.Ordinal)), $"{name}, wiring {wiring}");
                Assert.Equal(row * 5, await StoredCells.AssertSealedAsync(_database, context, "canary"));
            }
        }
    }

    [Fact]
    public void Every_form_declares_the_same()
    {
        var declared = Forms.SelectMany(f => Enumerable.Range(0, 3).Select(wiring => Declarations(f.Model, wiring))).ToList();
        Assert.Equal(8, declared[0].Count);
        Assert.All(declared, d => Assert.Equal(declared[0], d));
    }

    [Fact]
    public void The_fluent_form_overrules_the_attribute()
    {
        var declared = Declarations(
            m =>
            {
                Attributes.Configure(m);
                m.Entity<Attributes.Card>().HasDataKeyPerTenant();
                m.Entity<Attributes.Card>().Property(c => c.Number).IsEncrypted(e => e.HasColumnId("other").HasPadding(8).IsArmored());
                m.Entity<Attributes.Card>().PrimitiveCollection(c => c.Limits).IsNotEncrypted();
                m.Entity<Attributes.Letter>().Property(l => l.Text).IsNotEncrypted();
                m.Entity<Attributes.Entry>().Property(e => e.Balance).IsEncrypted(e => e.IsRowBound(false));
            },
            wiring: 1);
        Assert.DoesNotContain(declared, d => d.StartsWith("Letter.Text", StringComparison.Ordinal) || d.StartsWith("Card.Limits", StringComparison.Ordinal));
        Assert.Contains(declared, d => d.StartsWith("Card.Number", StringComparison.Ordinal) && d.Contains("other", StringComparison.Ordinal));
        Assert.Contains("Card: tenant, row Lineage", declared);
        Assert.NotEqual(Declarations(Attributes.Configure, 1).Single(d => d.StartsWith("Entry.Balance", StringComparison.Ordinal)), declared.Single(d => d.StartsWith("Entry.Balance", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_base_class_that_is_not_mapped_hands_its_scope_down()
        => Assert.Contains("Leaf: tenant|TenantId", Declarations(m => m.Entity<Leaf>(), wiring: 2));

    [Fact]
    public async Task An_attribute_on_a_field_an_overridden_property_or_a_records_parameter_counts()
    {
        static void Model(ModelBuilder m)
        {
            m.Entity<WithField>().ToTable("Fields").Property<string?>("_note");
            m.Entity<WithField>().Property(f => f.Text);
            m.Entity<Overriding>().ToTable("Overriding");
            m.Entity<Note>().ToTable("Notes");
        }

        Assert.Equal(4, Declarations(Model, wiring: 2).Count(d => d.Contains('.')));
        await using var context = New(Model, wiring: 2);
        await context.Database.EnsureCreatedAsync();
        var field = new WithField("canary backing");
        field.SetNote("canary field");
        context.AddRange(field, new Overriding { Text = "canary overridden" }, new Note(0, "canary record"));
        await context.SaveChangesAsync();
        Assert.Equal(4, await StoredCells.AssertSealedAsync(_database, context, "canary"));
        await using var reader = New(Model, wiring: 2);
        var read = await reader.Set<WithField>().SingleAsync();
        Assert.Equal(("canary backing", "canary field"), (read.Text, read.GetNote()));
        Assert.Equal("canary overridden", (await reader.Set<Overriding>().SingleAsync()).Text);
        Assert.Equal("canary record", (await reader.Set<Note>().SingleAsync()).Text);
    }

    [Fact]
    public void A_scope_attribute_on_a_derived_entity_is_refused()
    {
        var error = Assert.Throws<EnvelopeConfigurationException>(() => Declarations(
            m =>
            {
                m.Entity<Tree>();
                m.Entity<DerivedWithScope>();
            },
            wiring: 0));
        Assert.Equal("DerivedWithScope", error.Entity);
    }

    [Fact]
    public void Two_scope_attributes_are_refused()
        => Assert.Contains("[DataKeyPerTenant] and [DataKeyPerSubject]", Assert.Throws<EnvelopeConfigurationException>(() => Declarations(m => m.Entity<TwoScopes>(), wiring: 0)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_subject_name_that_would_forge_a_scope_is_refused_in_every_form()
    {
        Assert.Throws<EnvelopeConfigurationException>(() => Declarations(m => m.Entity<Tree>().HasDataKeyPerSubject("a/b", t => t.Id), wiring: 0));
        Assert.Throws<EnvelopeConfigurationException>(() => Declarations(m => m.Entity<Tree>().HasDataKeyPerSubject("a|b", "Id"), wiring: 0));
        Assert.Throws<EnvelopeConfigurationException>(() => Declarations(m => m.Entity<ForgedSubject>(), wiring: 0));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Without_the_options_no_form_stores_anything(int wiring)
    {
        foreach (var (_, model, save, _) in Forms)
        {
            await using (var context = New(model, wiring))
            {
                await context.Database.EnsureCreatedAsync();
            }

            await using var forgotten = New(model, wiring, withOptions: false);
            var error = await Record.ExceptionAsync(() => save(forgotten, 1));
            Assert.Contains(Causes(error), e => e is EnvelopeConfigurationException);
            Assert.Contains(Causes(error), e => e.Message.Contains("UseEnvelopeEncryption", StringComparison.Ordinal));
            foreach (var table in new[] { "Cards", "Letters", "Entries", "EnvelopeKeys" })
            {
                Assert.Equal(0, await StoredCells.CountAsync(_database, table));
            }
        }
    }

    /// <summary>What docs/limits.md says: no converter is asked of a value that the database makes.</summary>
    [Fact]
    public async Task Without_the_options_an_update_from_another_column_stores_its_text_and_nothing_else_does()
    {
        static void Model(ModelBuilder m) => m.Entity<Label>().ToTable("Labels");

        await using var context = New(Model, wiring: 0);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Label { Name = "name", Text = "canary" });
        await context.SaveChangesAsync();
        await using var forgotten = New(Model, wiring: 0, withOptions: false);
        var error = await Record.ExceptionAsync(() => forgotten.Set<Label>().ExecuteUpdateAsync(s => s.SetProperty(l => l.Text, "value")));
        Assert.Contains(Causes(error), e => e is EnvelopeConfigurationException);
        Assert.Equal(1, await StoredCells.AssertSealedAsync(_database, context, "canary"));

        error = await Record.ExceptionAsync(() => context.Set<Label>().ExecuteUpdateAsync(s => s.SetProperty(l => l.Text, l => l.Name)));
        Assert.Contains(Causes(error), e => e is EnvelopeEncryptionException);
        Assert.Equal(1, await forgotten.Set<Label>().ExecuteUpdateAsync(s => s.SetProperty(l => l.Text, l => l.Name)));
        Assert.Equal("name", await forgotten.Database.SqlQuery<string>($"SELECT \"Text\" AS \"Value\" FROM \"Labels\"").SingleAsync());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_property_that_is_left_in_the_clear_is_so_after_a_conversion_of_its_own_too(int wiring)
    {
        using var context = New(
            m =>
            {
                m.Entity<Label>().Property(l => l.Text).HasMaxLength(100);
                m.Entity<Label>().Property(l => l.Name).IsEncrypted();
                m.UseEnvelopeEncryption();
                m.Entity<Label>().Property(l => l.Text).HasConversion(text => text.Trim(), text => text).IsNotEncrypted();
            },
            wiring);
        var property = context.Model.FindEntityType(typeof(Label))!.FindProperty(nameof(Label.Text))!;
        Assert.DoesNotContain(property.GetAnnotations(), a => a.Name is EnvelopeAnnotationNames.Column or EnvelopeAnnotationNames.PlaintextMaxLength);
        Assert.Equal((100, typeof(string)), (property.GetMaxLength(), property.GetTypeMapping().Converter?.ProviderClrType));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_history_that_shares_a_marked_interface_takes_up_its_sources_declaration(int wiring)
        => Assert.Contains(Declarations(m =>
        {
            m.Entity<Kept>();
            m.Entity<KeptHistory>();
        }, wiring), d => d.StartsWith("KeptHistory.Ssn", StringComparison.Ordinal) && d.Contains("Kept.Ssn", StringComparison.Ordinal));

    [Fact]
    public async Task A_query_by_SQL_of_a_type_with_a_marked_interface_returns_what_the_SQL_says()
    {
        await using var context = New(Attributes.Configure, wiring: 2);
        await context.Database.EnsureCreatedAsync();
        Assert.Equal("***", (await context.Database.SqlQuery<Masked>($"SELECT '***' AS \"Ssn\"").SingleAsync()).Ssn);
    }

    [Fact]
    public void The_conventions_name_the_rings_tables()
    {
        var builder = new DbContextOptionsBuilder().AmongMany();
        AdHocContext.Cached(_database.UseProvider(builder));
        foreach (var options in new[] { builder.Options, _database.Options(more: AdHocContext.Cached) })
        {
            using var context = new AdHocContext(options, m => Attributes.Configure(m), b => b.UseEnvelopeEncryption(e => e.HasTablePrefix("Vault").HasSchema("safe").ExcludeFromMigrations()));
            var tables = context.GetService<IDesignTimeModel>().Model.GetEntityTypes().Where(e => e.IsRingTable()).ToList();
            Assert.Equal(6, tables.Count);
            Assert.All(tables, t => Assert.StartsWith("Vault", t.GetTableName(), StringComparison.Ordinal));
            Assert.All(tables, t => Assert.Equal("safe", t.GetSchema()));
            Assert.All(tables, t => Assert.True(t.IsTableExcludedFromMigrations()));
        }

        // Without names of their own they leave those of OnModelCreating alone.
        using var named = new AdHocContext(_database.Options(more: AdHocContext.Cached), m => m.UseEnvelopeEncryption(e => e.HasTablePrefix("Mine")), b => b.UseEnvelopeEncryption());
        Assert.All(named.Model.GetEntityTypes().Where(e => e.IsRingTable()), t => Assert.StartsWith("Mine", t.GetTableName(), StringComparison.Ordinal));
    }

    private AdHocContext New(Action<ModelBuilder> model, int wiring, bool withOptions = true)
    {
        DbContextOptions options;
        if (withOptions)
        {
            options = _database.Options(more: AdHocContext.Cached);
        }
        else
        {
            var builder = new DbContextOptionsBuilder().AmongMany();
            AdHocContext.Cached(_database.UseProvider(builder));
            options = builder.Options;
        }

        return new AdHocContext(
            options,
            m =>
            {
                model(m);
                Wirings[wiring](m);
            },
            wiring == 1 ? b => b.UseEnvelopeEncryption() : null);
    }

    /// <summary>Scopes and column tokens by entity and property.</summary>
    private List<string> Declarations(Action<ModelBuilder> model, int wiring)
    {
        using var context = New(model, wiring);
        var lines = new List<string>();
        foreach (var type in context.Model.GetEntityTypes().Where(e => !e.IsRingTable()))
        {
            var scope = type.GetScope();
            lines.Add($"{type.ShortName()}: {scope.ToAnnotation()}{(scope.PerRow ? $", row {scope.RowIdProperty}" : "")}");
            lines.AddRange(type.GetFlattenedProperties().Where(p => p.FindEnvelope() is not null).Select(p => $"{p.DeclaringType.ShortName()}.{p.Name}: {p.FindAnnotation(EnvelopeAnnotationNames.Column)!.Value}"));
        }

        return [.. lines.Order(StringComparer.Ordinal)];
    }

    private static IEnumerable<Exception> Causes(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            yield return error;
        }
    }
}
