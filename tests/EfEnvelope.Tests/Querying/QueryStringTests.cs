using EfEnvelope.Storage;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Tests.Querying;

public sealed class SqliteQueryStringTests() : QueryStringTests("SQLite");

public sealed class PostgresQueryStringTests() : QueryStringTests("PostgreSQL");

/// <summary>
/// What <c>ToQueryString()</c> prints of a parameter that belongs to an encrypted column. No query with one is allowed today, so the refusal of operators is taken off for these tests.
/// </summary>
public abstract class QueryStringTests(string provider) : IAsyncLifetime
{
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public void A_parameter_of_an_encrypted_column_is_printed_as_encrypted()
    {
        var (ssn, note, photo, city) = ("canary ssn", "canary note", "canary photo"u8.ToArray(), "Bern");
        using var context = New();
        AssertPrinted(context.People.Where(p => p.Ssn == ssn && p.City == city), city, 1);
        AssertPrinted(context.People.Where(p => p.Note == note && p.City == city), city, 1);
        AssertPrinted(context.People.Where(p => p.Photo == photo && p.Nick == ssn && p.City == city), city, 2);
        AssertPrinted(context.People.Where(p => p.City == city && p.Score == photo.Length).Select(p => p.Id), city, 1);
        Assert.Null(CommandFrame.Current);
    }

    [Fact]
    public void A_list_of_values_is_printed_as_encrypted()
    {
        var list = new List<string> { "canary one", "canary two" };
        using var context = New();

        // PostgreSQL takes the list as one array.
        var parameters = provider == "SQLite" ? 2 : 1;
        AssertPrinted(context.People.Where(p => list.Contains(p.Ssn)), "", parameters);
        AssertPrinted(context.People.Where(p => list.Contains(p.Note!)), "", parameters);
        Assert.Null(CommandFrame.Current);
    }

    [Fact]
    public async Task A_command_made_of_such_a_query_fails_and_finds_no_wrong_rows()
    {
        var (ssn, note) = ("canary ssn", "canary note");
        await using var context = New();
        await context.Database.OpenConnectionAsync();
        foreach (var query in new[] { context.People.Where(p => p.Ssn == ssn), context.People.Where(p => p.Note == note) })
        {
            await using var command = query.CreateDbCommand();
            var error = await Assert.ThrowsAnyAsync<Exception>(() => command.ExecuteReaderAsync());
            Assert.DoesNotContain("canary", error.Message, StringComparison.Ordinal);
        }

        Assert.Null(CommandFrame.Current);
    }

    private static void AssertPrinted(IQueryable query, string plain, int encrypted)
    {
        var printed = query.ToQueryString();
        Assert.Equal(encrypted, printed.Split("<encrypted>").Length - 1);
        Assert.Contains(plain, printed, StringComparison.Ordinal);
        Assert.DoesNotContain("canary", printed, StringComparison.Ordinal);
        Assert.DoesNotMatch("[0-9A-Fa-f]{32}", printed);
        Assert.DoesNotContain("SByte", printed, StringComparison.Ordinal);
    }

    private VaultContext New() => new(_database.Options(more: builder => builder.ReplaceService<IQueryTranslationPostprocessorFactory, Unguarded>()));

    private sealed class Unguarded(QueryTranslationPostprocessorDependencies dependencies, RelationalQueryTranslationPostprocessorDependencies relational) : IQueryTranslationPostprocessorFactory
    {
        public QueryTranslationPostprocessor Create(QueryCompilationContext queryCompilationContext)
            => new RelationalQueryTranslationPostprocessor(dependencies, relational, (RelationalQueryCompilationContext)queryCompilationContext);
    }
}
