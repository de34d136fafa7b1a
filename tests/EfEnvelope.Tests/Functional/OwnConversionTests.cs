using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Tests.Functional;

public sealed class SqliteOwnConversionTests() : OwnConversionTests("SQLite");

public sealed class PostgresOwnConversionTests() : OwnConversionTests("PostgreSQL");

/// <summary>A conversion of the application's own that throws, with the value in its message.</summary>
public abstract class OwnConversionTests(string provider)
{
    private static readonly Action<ModelBuilder> Model = m =>
    {
        m.Entity<Form>().Property(f => f.Grade).HasConversion(grade => Check(grade), text => text);
        m.UseEnvelopeEncryption();
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task One_that_fails_on_save_is_named_and_the_value_is_in_none_of_our_messages(bool sync)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), Model);
        await context.Database.EnsureCreatedAsync();
        context.Add(new Form { Grade = "canary" });
        context.Add(new Form { Grade = "good" });
        var thrown = await Record.ExceptionAsync(async () => _ = sync ? context.SaveChanges() : await context.SaveChangesAsync());
        var error = Assert.IsType<EnvelopeRefusedException>(thrown as EnvelopeRefusedException ?? thrown!.InnerException);
        Assert.Equal(("Form", "Grade", "Form.Grade"), (error.Entity, error.Property, error.ColumnId));
        Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("canary", thrown!.Message, StringComparison.Ordinal);
        Assert.Contains("canary", Assert.IsType<FormatException>(error.InnerException).Message, StringComparison.Ordinal);
        Assert.Equal(0, await StoredCells.CountAsync(database, "Form"));
        context.Entry(context.Set<Form>().Local.First(f => f.Grade == "canary")).State = EntityState.Detached;
        Assert.Equal(1, await context.SaveChangesAsync());
    }

    /// <summary>The comparer of the application's provider values is not one of envelopes.</summary>
    [Theory]
    [InlineData("instances", false)]
    [InlineData("instances", true)]
    [InlineData("types", false)]
    [InlineData("types", true)]
    [InlineData("provider type", false)]
    [InlineData("provider type", true)]
    public async Task One_that_brings_comparers_is_served(string how, bool fluent)
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        AdHocContext New() => new(database.Options(more: AdHocContext.Cached), m =>
        {
            var grade = m.Entity<Form>().Property(f => f.Grade);
            if (fluent)
            {
                grade.IsEncrypted();
            }

            _ = how switch
            {
                "instances" => grade.HasConversion(new Reversed(), new ValueComparer<string>(favorStructuralComparisons: false), new Stored()),
                "types" => grade.HasConversion<Reversed, Ordinal, Stored>(),
                _ => grade.HasConversion<string>(new ValueComparer<string>(favorStructuralComparisons: false), new ValueComparer<string>(favorStructuralComparisons: false)),
            };
            if (fluent)
            {
                grade.IsEncrypted();
            }
        });
        await using (var context = New())
        {
            await context.Database.EnsureCreatedAsync();
            context.Add(new Form { Grade = "canary" });
            await context.SaveChangesAsync();
        }

        await using var reader = New();
        Assert.Equal("canary", (await reader.Set<Form>().SingleAsync()).Grade);
        Assert.Equal(1, await StoredCells.AssertSealedAsync(database, reader, "canary", "yranac"));
    }

    private sealed class Reversed() : ValueConverter<string, string>(value => new string(value.Reverse().ToArray()), stored => new string(stored.Reverse().ToArray()));

    private sealed class Ordinal() : ValueComparer<string>(favorStructuralComparisons: false);

    private sealed class Stored() : ValueComparer<string>(favorStructuralComparisons: false);

    private static string Check(string grade) => grade == "canary" ? throw new FormatException($"no such grade: {grade}") : grade;

    private sealed class Form
    {
        public int Id { get; set; }

        [Encrypted]
        public string Grade { get; set; } = "";
    }
}
