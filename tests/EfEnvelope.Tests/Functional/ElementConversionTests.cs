using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteElementConversionTests() : ElementConversionTests("SQLite");

public sealed class PostgresElementConversionTests() : ElementConversionTests("PostgreSQL");

/// <summary>Conversions of a primitive collection's elements, which its envelope would not hold, are refused; conversions of the whole collection, and of the elements' type in the whole model, are served.</summary>
public abstract class ElementConversionTests(string provider)
{
    public enum Level
    {
        Low,
        High,
    }

    [Theory]
    [InlineData("provider type", true)]
    [InlineData("provider type", false)]
    [InlineData("converter", true)]
    [InlineData("converter", false)]
    [InlineData("converter's type", true)]
    [InlineData("converter's type", false)]
    public async Task A_conversion_of_the_elements_is_refused_by_name(string how, bool fluent)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        foreach (var eager in new[] { false, true })
        {
            await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), m =>
            {
                _ = fluent
                    ? m.Entity<Chart>().Ignore(c => c.Marked).PrimitiveCollection(c => c.Levels).ElementType(e => Convert(e, how)).IsEncrypted()
                    : m.Entity<Chart>().Ignore(c => c.Levels).PrimitiveCollection(c => c.Marked).ElementType(e => Convert(e, how));
                if (eager)
                {
                    m.UseEnvelopeEncryption();
                }
            });
            var error = Assert.Throws<EnvelopeConfigurationException>(() => context.Model);
            Assert.Equal(("Chart", fluent ? "Levels" : "Marked"), (error.Entity, error.Property));
            Assert.Contains("elements", error.Message, StringComparison.Ordinal);
            Assert.Contains("HasConversion", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_conversion_of_the_whole_collection_is_served()
        => await RoundTripAsync(
            m => m.Entity<Chart>().Ignore(c => c.Marked).Property(c => c.Levels).IsEncrypted().HasConversion(
                levels => string.Join(',', levels), text => text.Split(',', StringSplitOptions.None).Select(Enum.Parse<Level>).ToList()),
            null);

    [Fact]
    public async Task A_conversion_of_the_type_in_the_whole_model_is_served()
        => await RoundTripAsync(m => m.Entity<Chart>().Ignore(c => c.Marked).PrimitiveCollection(c => c.Levels).IsEncrypted(), c => c.Properties<Level>().HaveConversion<string>());

    private async Task RoundTripAsync(Action<ModelBuilder> model, Action<ModelConfigurationBuilder>? conventions)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        AdHocContext New() => new(database.Options(more: AdHocContext.Cached), model, conventions);
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Chart { Levels = [Level.Low, Level.High] });
            await context.SaveChangesAsync();
        }

        await using var reader = New();
        Assert.Equal([Level.Low, Level.High], (await reader.Set<Chart>().SingleAsync()).Levels);
        Assert.Equal(1, await StoredCells.AssertSealedAsync(database, reader, "Low"));
    }

    private static void Convert(ElementTypeBuilder element, string how)
    {
        switch (how)
        {
            case "provider type":
                element.HasConversion<string>();
                break;
            case "converter":
                element.HasConversion(new EnumToStringConverter<Level>());
                break;
            default:
                element.HasConversion<EnumToStringConverter<Level>>();
                break;
        }
    }

    public sealed class Chart
    {
        public int Id { get; set; }

        public List<Level> Levels { get; set; } = [];

        [Encrypted]
        public List<Level> Marked { get; set; } = [];
    }
}
