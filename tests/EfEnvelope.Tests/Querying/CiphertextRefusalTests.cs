// The lambdas are translated to SQL, where the overloads that these rules prefer do not exist.
#pragma warning disable CA1304, CA1309, CA1311, CA1847, CA1862, CA1866

using Microsoft.EntityFrameworkCore;
using Npgsql.EntityFrameworkCore.PostgreSQL.Infrastructure;

namespace EfEnvelope.Tests.Querying;

public sealed class SqliteCiphertextRefusalTests(SqliteVault vault) : CiphertextRefusalTests(vault), IClassFixture<SqliteVault>
{
    public static TheoryData<string> OwnOperators => [.. RefusedOperators.Sqlite.Keys];

    [Theory]
    [MemberData(nameof(OwnOperators))]
    public Task A_function_of_SQLite_on_ciphertext_is_refused(string name) => AssertRefusedAsync(RefusedOperators.Sqlite[name]);
}

public sealed class PostgresCiphertextRefusalTests(PostgresVault vault) : CiphertextRefusalTests(vault), IClassFixture<PostgresVault>
{
    /// <summary>Bulk statements are no part of a query, and EF has no collections out of a <c>Concat</c> of columns.</summary>
    private static readonly Dictionary<string, (string Property, Func<VaultContext, Task> Query)> InQueries = new(
        new[] { Refused, RefusedOperators.Functions, RefusedOperators.Collections, RefusedOperators.Structures, RefusedOperators.Postgres, Projections.Server }
            .SelectMany((operators, i) => operators.Select(o => KeyValuePair.Create($"{i}: {o.Key}", o.Value)))
            .Where(o => !o.Key.Contains("Execute", StringComparison.Ordinal) && !o.Key.Contains("UNION ALL", StringComparison.Ordinal)),
        StringComparer.Ordinal);

    public static TheoryData<string> OwnOperators => [.. RefusedOperators.Postgres.Keys];

    public static TheoryData<string> OfQueries => [.. InQueries.Keys];

    [Theory]
    [MemberData(nameof(OwnOperators))]
    public Task A_function_of_PostgreSQL_on_ciphertext_is_refused(string name) => AssertRefusedAsync(RefusedOperators.Postgres[name]);

    /// <summary>SQLite has no lateral joins, which most of these are.</summary>
    [Theory]
    [MemberData(nameof(OfQueries))]
    public Task An_operator_on_ciphertext_in_a_split_collection_is_refused_by_name_before_any_command(string name) => AssertRefusedAsync(
        InQueries[name],
        builder => new NpgsqlDbContextOptionsBuilder(builder.AddInterceptors(SplitCollections.Instance)).UseQuerySplittingBehavior(QuerySplittingBehavior.SplitQuery));
}

/// <summary>Each operator that ciphertext cannot serve is refused by name, before any command; the few that it can serve give right results.</summary>
public abstract class CiphertextRefusalTests(VaultFixture vault)
{
    private static readonly string Wanted = "123";
    private static readonly string[] List = ["123", "456"];

    protected static readonly Dictionary<string, (string Property, Func<VaultContext, Task> Query)> Refused = new(StringComparer.Ordinal)
    {
        ["== constant"] = ("Ssn", c => c.People.Where(p => p.Ssn == "123").ToListAsync()),
        ["== parameter"] = ("Ssn", c => c.People.Where(p => p.Ssn == Wanted).ToListAsync()),
        ["=="] = ("Ssn", c => c.People.Where(p => p.Ssn == p.City).ToListAsync()),
        ["== of two encrypted columns"] = ("Nick", c => c.People.Where(p => p.Nick == p.Ssn).ToListAsync()),
        ["!="] = ("Ssn", c => c.People.Where(p => p.Ssn != Wanted).ToListAsync()),
        ["Equals"] = ("Ssn", c => c.People.Where(p => p.Ssn.Equals(Wanted)).ToListAsync()),
        ["object.Equals"] = ("Ssn", c => c.People.Where(p => Equals(p.Ssn, Wanted)).ToListAsync()),
        ["== on armour"] = ("Note", c => c.People.Where(p => p.Note == Wanted).ToListAsync()),
        ["== on bytes"] = ("Photo", c => c.People.Where(p => p.Photo == new byte[] { 1 }).ToListAsync()),
        ["== on an enum"] = ("Grade", c => c.People.Where(p => p.Grade == Grade.High).ToListAsync()),
        ["== against a plain byte column"] = ("Photo", c => c.People.Where(p => c.Words.Any(w => w.Bytes == p.Photo)).ToListAsync()),
        ["bool as predicate"] = ("Active", c => c.People.Where(p => p.Active).ToListAsync()),
        ["negated bool"] = ("Active", c => c.People.Where(p => !p.Active).ToListAsync()),
        ["bool in AND"] = ("Active", c => c.People.Where(p => p.City == "x" && p.Active).ToListAsync()),
        ["bool in OR"] = ("Active", c => c.People.Where(p => p.City == "x" || p.Active).ToListAsync()),
        ["bool == bool column"] = ("Active", c => c.People.Where(p => c.Words.Any(w => w.Set == p.Active)).ToListAsync()),
        ["bool aggregate All"] = ("Active", c => c.People.AllAsync(p => p.Active)),
        ["bool aggregate Any"] = ("Active", c => c.People.AnyAsync(p => p.Active)),
        ["Count of a predicate"] = ("Active", c => c.People.CountAsync(p => p.Active)),
        ["bool conditional in ORDER BY"] = ("Active", c => c.People.OrderBy(p => p.Active ? 1 : 0).ToListAsync()),
        [">"] = ("Score", c => c.People.Where(p => p.Score > 3).ToListAsync()),
        [">="] = ("Amount", c => c.People.Where(p => p.Amount >= 3m).ToListAsync()),
        ["<"] = ("Born", c => c.People.Where(p => p.Born < new DateOnly(2000, 1, 1)).ToListAsync()),
        ["<="] = ("Score", c => c.People.Where(p => p.Score <= 3).ToListAsync()),
        ["CompareTo"] = ("Ssn", c => c.People.Where(p => p.Ssn.CompareTo("b") > 0).ToListAsync()),
        ["arithmetic"] = ("Score", c => c.People.Where(p => p.Score + 1 == 3).ToListAsync()),
        ["negation"] = ("Score", c => c.People.Where(p => -p.Score == 3).ToListAsync()),
        ["StartsWith"] = ("Ssn", c => c.People.Where(p => p.Ssn.StartsWith("1")).ToListAsync()),
        ["StartsWith parameter"] = ("Ssn", c => c.People.Where(p => p.Ssn.StartsWith(Wanted)).ToListAsync()),
        ["EndsWith"] = ("Ssn", c => c.People.Where(p => p.Ssn.EndsWith(Wanted)).ToListAsync()),
        ["Contains"] = ("Ssn", c => c.People.Where(p => p.Ssn.Contains("2")).ToListAsync()),
        ["LIKE"] = ("Ssn", c => c.People.Where(p => EF.Functions.Like(p.Ssn, "1%")).ToListAsync()),
        ["LIKE on armour"] = ("Note", c => c.People.Where(p => EF.Functions.Like(p.Note!, "1%")).ToListAsync()),
        ["as the pattern of LIKE"] = ("Nick", c => c.People.Where(p => EF.Functions.Like(p.City, p.Nick!)).ToListAsync()),
        ["IN constants"] = ("Ssn", c => c.People.Where(p => new[] { "1", "2" }.Contains(p.Ssn)).ToListAsync()),
        ["IN parameters"] = ("Ssn", c => c.People.Where(p => List.Contains(p.Ssn)).ToListAsync()),
        ["IN one parameter"] = ("Ssn", c => c.People.Where(p => EF.Parameter(List).Contains(p.Ssn)).ToListAsync()),
        ["IN inlined constants"] = ("Ssn", c => c.People.Where(p => EF.Constant(List).Contains(p.Ssn)).ToListAsync()),
        ["IN plain subquery"] = ("Ssn", c => c.People.Where(p => c.Words.Select(w => w.Text).Contains(p.Ssn)).ToListAsync()),
        ["plain IN encrypted subquery"] = ("Ssn", c => c.Words.Where(w => c.People.Select(p => p.Ssn).Contains(w.Text)).ToListAsync()),
        ["plain byte column IN encrypted subquery"] = ("Photo", c => c.Words.Where(w => c.People.Select(p => p.Photo).Contains(w.Bytes)).ToListAsync()),
        ["constant in an encrypted subquery"] = ("Ssn", c => c.Words.Where(w => c.People.Select(p => p.Ssn).Contains("123")).ToListAsync()),
        ["Contains as terminal operator"] = ("Ssn", c => c.People.Select(p => p.Ssn).ContainsAsync("123")),
        ["ORDER BY"] = ("Ssn", c => c.People.OrderBy(p => p.Ssn).ToListAsync()),
        ["ORDER BY DESC"] = ("Amount", c => c.People.OrderByDescending(p => p.Amount).ToListAsync()),
        ["THEN BY"] = ("Note", c => c.People.OrderBy(p => p.City).ThenBy(p => p.Note).ToListAsync()),
        ["Order"] = ("Ssn", c => c.People.Select(p => p.Ssn).Order().ToListAsync()),
        ["GROUP BY"] = ("Ssn", c => c.People.GroupBy(p => p.Ssn).Select(g => new { g.Key, Count = g.Count() }).ToListAsync()),
        ["GROUP BY with elements"] = ("Grade", c => c.People.GroupBy(p => new { p.City, p.Grade }).Select(g => g.Count()).ToListAsync()),
        ["DISTINCT"] = ("Ssn", c => c.People.Select(p => p.Ssn).Distinct().ToListAsync()),
        ["DISTINCT with others"] = ("Nick", c => c.People.Select(p => new { p.City, p.Nick }).Distinct().ToListAsync()),
        ["COUNT DISTINCT"] = ("Ssn", c => c.People.Select(p => p.Ssn).Distinct().CountAsync()),
        ["COUNT DISTINCT in a group"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => g.Select(p => p.Ssn).Distinct().Count()).ToListAsync()),
        ["Min"] = ("Score", c => c.People.MinAsync(p => p.Score)),
        ["Max"] = ("Ssn", c => c.People.MaxAsync(p => p.Ssn)),
        ["Sum"] = ("Score", c => c.People.SumAsync(p => p.Score)),
        ["Average"] = ("Score", c => c.People.AverageAsync(p => p.Score)),
        ["Max in a group"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => g.Max(p => p.Ssn)).ToListAsync()),
        ["string.Join in a group"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => string.Join(",", g.Select(p => p.Ssn))).ToListAsync()),
        ["concatenation in a filter"] = ("Ssn", c => c.People.Where(p => p.Ssn + "!" == "123!").ToListAsync()),
        ["ToUpper"] = ("Ssn", c => c.People.Where(p => p.Ssn.ToUpper() == "X").ToListAsync()),
        ["Length"] = ("Ssn", c => c.People.Where(p => p.Ssn.Length == 3).ToListAsync()),
        ["Length of bytes"] = ("Photo", c => c.People.Where(p => p.Photo!.Length == 3).ToListAsync()),
        ["Substring"] = ("Ssn", c => c.People.Where(p => p.Ssn.Substring(1) == "23").ToListAsync()),
        ["Trim"] = ("Ssn", c => c.People.Where(p => p.Ssn.Trim() == "23").ToListAsync()),
        ["Replace"] = ("Ssn", c => c.People.Where(p => p.City.Replace("a", p.Ssn) == "23").ToListAsync()),
        ["IsNullOrEmpty"] = ("Nick", c => c.People.Where(p => string.IsNullOrEmpty(p.Nick)).ToListAsync()),
        ["Math.Abs"] = ("Score", c => c.People.Where(p => Math.Abs(p.Score) == 1).ToListAsync()),
        ["Year"] = ("Born", c => c.People.Where(p => p.Born!.Value.Year == 1990).ToListAsync()),
        ["COLLATE"] = ("Ssn", c => c.People.Where(p => EF.Functions.Collate(p.Ssn, "C") == "x").ToListAsync()),
        ["?? in a filter"] = ("Nick", c => c.People.Where(p => (p.Nick ?? "none") == "none").ToListAsync()),
        ["conditional in a filter"] = ("Ssn", c => c.People.Where(p => (p.City == "x" ? p.Ssn : p.City) == "123").ToListAsync()),
        ["UNION"] = ("Ssn", c => c.People.Select(p => p.Ssn).Union(c.Words.Select(w => w.Text)).ToListAsync()),
        ["UNION of the same column"] = ("Ssn", c => c.People.Where(p => p.City == "a").Select(p => p.Ssn).Union(c.People.Select(p => p.Ssn)).ToListAsync()),
        ["UNION ALL with a plain column"] = ("Ssn", c => c.People.Select(p => p.Ssn).Concat(c.Words.Select(w => w.Text)).ToListAsync()),
        ["UNION ALL after a plain column"] = ("Ssn", c => c.Words.Select(w => w.Text).Concat(c.People.Select(p => p.Ssn)).ToListAsync()),
        ["UNION ALL with another encrypted column"] = ("Ssn", c => c.People.Select(p => p.Ssn).Concat(c.People.Select(p => p.Nick!)).ToListAsync()),
        ["INTERSECT"] = ("Ssn", c => c.People.Select(p => p.Ssn).Intersect(c.People.Select(p => p.Ssn)).ToListAsync()),
        ["EXCEPT"] = ("Ssn", c => c.People.Select(p => p.Ssn).Except(c.People.Select(p => p.Ssn)).ToListAsync()),
        ["JOIN"] = ("Ssn", c => c.People.Join(c.Words, p => p.Ssn, w => w.Text, (p, w) => new { p.Id, w.Text }).ToListAsync()),
        ["LEFT JOIN"] = ("Ssn", c => c.Words.LeftJoin(c.People, w => w.Text, p => p.Ssn, (w, p) => new { w.Text, p!.Id }).ToListAsync()),
        ["correlated subquery"] = ("Ssn", c => c.People.Where(p => c.Words.Any(w => w.Text == p.Ssn)).ToListAsync()),
        ["scalar subquery"] = ("Ssn", c => c.Words.Where(w => w.Text == c.People.OrderBy(p => p.Id).Select(p => p.Ssn).FirstOrDefault()).ToListAsync()),
        ["member of a JSON document"] = ("Passport", c => c.People.Where(p => p.Papers!.Passport == "1").ToListAsync()),
        ["ORDER BY a member of a JSON document"] = ("Passport", c => c.People.OrderBy(p => p.Papers!.Passport).ToListAsync()),
        ["ExecuteDelete filter"] = ("Ssn", c => c.People.Where(p => p.Ssn == Wanted).ExecuteDeleteAsync()),
        ["ExecuteUpdate filter"] = ("Ssn", c => c.People.Where(p => p.Ssn == Wanted).ExecuteUpdateAsync(s => s.SetProperty(p => p.City, "x"))),
        ["ExecuteUpdate from an encrypted column"] = ("Ssn", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.City, p => p.Ssn))),
        ["Find-like equality by EF.Property"] = ("Ssn", c => c.People.Where(p => EF.Property<string>(p, "Ssn") == Wanted).ToListAsync()),
    };

    private readonly VaultFixture.CommandCounter _commands = new();

    public static TheoryData<string> Operators => [.. Refused.Keys];

    public static TheoryData<string> Functions => [.. RefusedOperators.Functions.Keys];

    public static TheoryData<string> Collections => [.. RefusedOperators.Collections.Keys];

    public static TheoryData<string> Structures => [.. RefusedOperators.Structures.Keys];

    public static TheoryData<string> ServerProjections => [.. Projections.Server.Keys];

    public static TheoryData<string> ClientProjections => [.. Projections.Client.Keys];

    public static TheoryData<string> Served => [.. Projections.Served.Keys];

    public static TheoryData<string> Bulk => [.. RefusedOperators.Bulk.Keys];

    [Theory]
    [MemberData(nameof(Operators))]
    public Task An_operator_on_ciphertext_is_refused_by_name_before_any_command(string name) => AssertRefusedAsync(Refused[name]);

    [Theory]
    [MemberData(nameof(Functions))]
    public Task A_function_on_ciphertext_is_refused(string name) => AssertRefusedAsync(RefusedOperators.Functions[name]);

    [Theory]
    [MemberData(nameof(Collections))]
    public Task An_encrypted_collection_is_not_searched(string name) => AssertRefusedAsync(RefusedOperators.Collections[name]);

    [Theory]
    [MemberData(nameof(Structures))]
    public Task Documents_complex_and_owned_types_and_whole_rows_are_not_compared(string name) => AssertRefusedAsync(RefusedOperators.Structures[name]);

    [Theory]
    [MemberData(nameof(Bulk))]
    public Task A_bulk_statement_that_computes_on_ciphertext_is_refused(string name) => AssertRefusedAsync(RefusedOperators.Bulk[name]);

    [Fact]
    public async Task Collections_of_split_queries_are_filtered_ordered_and_grouped_by_plain_columns_alone()
    {
        Dictionary<string, (string Property, Func<VaultContext, Task> Query)> refused = new(StringComparer.Ordinal)
        {
            ["ordered include"] = ("Serial", c => c.People.Include(p => p.Devices.OrderBy(d => d.Serial)).AsSplitQuery().ToListAsync()),
            ["page of an include"] = ("Serial", c => c.People.Include(p => p.Devices.OrderBy(d => d.Serial).Take(1)).AsSplitQuery().ToListAsync()),
            ["filtered include"] = ("Serial", c => c.People.Include(p => p.Devices.Where(d => d.Serial != Wanted)).AsSplitQuery().ToListAsync()),
            ["constant"] = ("Serial", c => c.People.Include(p => p.Devices.Where(d => d.Serial == "123")).AsSplitQuery().ToListAsync()),
            ["projected list"] = ("Serial", c => c.People.AsSplitQuery().Select(p => new { p.Id, List = p.Devices.Where(d => d.Serial!.Length == 3).ToList() }).ToListAsync()),
            ["groups"] = ("Serial", c => c.People.AsSplitQuery().Select(p => new { p.Id, List = p.Devices.GroupBy(d => d.Serial).Select(g => g.Count()).ToList() }).ToListAsync()),
            ["collection in a collection"] = ("Serial", c => c.Words.AsSplitQuery().Select(w => new { w.Id, List = c.People.Select(p => new { p.Id, Inner = p.Devices.OrderBy(d => d.Serial).ToList() }).ToList() }).ToListAsync()),
            ["the outer row's cell"] = ("Ssn", c => c.People.AsSplitQuery().Select(p => new { p.Id, List = p.Devices.Where(d => d.Kind == p.Ssn).ToList() }).ToListAsync()),
        };
        foreach (var query in refused.Values)
        {
            await AssertRefusedAsync(query);
        }

        await using var context = New();
        var served = await context.People.AsNoTracking().Include(p => p.Devices.Where(d => d.Serial != null).OrderBy(d => d.Kind).Take(1)).AsSplitQuery().OrderBy(p => p.Id).ToListAsync();
        Assert.Equal(["123"], served.SelectMany(p => p.Devices).Select(d => d.Serial));
    }

    [Fact]
    public async Task Null_tests_and_projections_are_right()
    {
        await using var context = New();
        Assert.Equal(1, await context.People.CountAsync(p => p.Nick == null));
        Assert.Equal(1, await context.People.CountAsync(p => p.Nick != null));
        Assert.Equal(1, await context.People.CountAsync(p => p.Born.HasValue));
        Assert.Equal(1, await context.People.CountAsync(p => p.Photo == null && p.City == "Basel"));
        Assert.Equal(["123", "456"], await context.People.OrderBy(p => p.Id).Select(p => p.Ssn).ToListAsync());
        Assert.Equal([true, false], await context.People.OrderBy(p => p.Id).Select(p => p.Nick != null).ToListAsync());
        Assert.Equal([true, false], await context.People.OrderBy(p => p.Id).Select(p => p.Active).ToListAsync());
        Assert.Equal("123", await context.Words.Select(w => context.People.Where(p => p.City == "Bern").Select(p => p.Ssn).FirstOrDefault()).SingleAsync());
        Assert.Equal(["123", "456"], (await context.People.Select(p => p.Ssn).Concat(context.People.Where(p => p.City == "none").Select(p => p.Ssn)).ToListAsync()).Order(StringComparer.Ordinal));
        Assert.Equal("1", await context.People.Where(p => p.City == "Bern").Select(p => p.Papers!.Passport).SingleAsync());
    }

    [Theory]
    [MemberData(nameof(ServerProjections))]
    public Task What_EF_would_compute_in_the_database_is_refused_in_the_last_projection_too(string name) => AssertRefusedAsync(Projections.Server[name]);

    [Theory]
    [MemberData(nameof(ClientProjections))]
    public async Task What_EF_computes_on_the_client_is_right_in_the_last_projection(string name)
    {
        var (query, expected) = Projections.Client[name];
        await using var context = New();
        Assert.Equal(expected, await query(context));
    }

    [Theory]
    [MemberData(nameof(Served))]
    public async Task The_plain_parts_of_documents_and_NULL_tests_are_served(string name)
    {
        await using var context = New();
        Assert.Equal(["Bern"], await Projections.Served[name](context).Select(p => p.City).ToListAsync());
    }

    [Fact]
    public async Task A_plain_member_of_a_document_is_set_in_bulk_and_its_encrypted_ones_stay()
    {
        await using var context = New();
        await using var transaction = await context.Database.BeginTransactionAsync();
        Assert.Equal(1, await context.People.Where(p => p.City == "Bern").ExecuteUpdateAsync(s => s.SetProperty(p => p.Card.Bank, "other")));
        var card = await context.People.AsNoTracking().Where(p => p.City == "Bern").Select(p => p.Card).SingleAsync();
        Assert.Equal(("other", "123"), (card.Bank, card.Number));
    }

    [Fact]
    public async Task A_plain_member_is_set_in_bulk_from_the_plain_members_of_a_documents_elements()
    {
        await using var context = New();
        await using var transaction = await context.Database.BeginTransactionAsync();
        Assert.Equal(1, await context.People.Where(p => p.City == "Bern").ExecuteUpdateAsync(s => s.SetProperty(p => p.Card.Bank, p => p.OldCards.Select(o => o.Bank).First())));
        var card = await context.People.AsNoTracking().Where(p => p.City == "Bern").Select(p => p.Card).SingleAsync();
        Assert.Equal(("old", "123"), (card.Bank, card.Number));
    }

    [Fact]
    public async Task A_default_that_the_database_would_put_in_is_refused_with_the_way_out_and_that_way_works()
    {
        await using var context = New();
        var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Words.Select(w => context.People.Where(p => p.City == "Bern").Select(p => p.Amount).FirstOrDefault()).ToListAsync());
        Assert.Contains("(int?)", error.Message, StringComparison.Ordinal);
        Assert.Equal(5m, await context.Words.Select(w => context.People.Where(p => p.City == "Bern").Select(p => (decimal?)p.Amount).FirstOrDefault()).SingleAsync());
    }

    [Fact]
    public async Task A_captured_document_is_neither_searched_nor_set()
    {
        var card = new Card { Bank = "b", Number = Wanted };
        await AssertRefusedAsync(("Number", c => c.People.Where(p => p.Card == card).ToListAsync()));
        await AssertRefusedAsync(("Number", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Card, card))));
        var cards = new List<Card> { card };
        await AssertRefusedAsync(("Number", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.OldCards, cards))));
    }

    [Fact]
    public async Task A_query_that_fails_for_another_reason_is_not_blamed_on_encryption()
    {
        await using var context = New();
        await Assert.ThrowsAsync<InvalidOperationException>(() => context.People.Where(p => Untranslatable(p.City)).ToListAsync());
        await Assert.ThrowsAsync<InvalidOperationException>(() => context.People.Where(p => Untranslatable(p.City) && p.Nick != null && p.Born.HasValue).Select(p => p.Ssn.ToUpper()).ToListAsync());
        await Assert.ThrowsAsync<InvalidOperationException>(
            () => context.People.Where(p => Untranslatable(p.City) && p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, Wanted)));
    }

    [Fact]
    public async Task ToQueryString_shows_the_command_and_no_value()
    {
        await using var context = New();
        var sql = context.People.Where(p => p.City == "Bern").Select(p => new { p.Id, p.Ssn }).ToQueryString();
        Assert.Contains("Ssn", sql, StringComparison.Ordinal);
        Assert.Equal(0, _commands.Count);
        Assert.Throws<EnvelopeQueryException>(() => context.People.Where(p => p.Ssn == Wanted).ToQueryString());
        Assert.Equal("123", (await context.People.Where(p => p.City == "Bern").Select(p => new { p.Id, p.Ssn }).SingleAsync()).Ssn);
    }

    private static bool Untranslatable(string text) => text.Length > 0;

    protected async Task AssertRefusedAsync((string Property, Func<VaultContext, Task> Query) refused, Action<DbContextOptionsBuilder>? more = null)
    {
        await using var context = vault.New(_commands, more);
        var error = await Assert.ThrowsAsync<EnvelopeQueryException>(() => refused.Query(context));
        Assert.Equal(refused.Property, error.Property);
        Assert.NotNull(error.Entity);
        Assert.NotNull(error.ColumnId);
        Assert.Contains(refused.Property, error.Message, StringComparison.Ordinal);
        for (Exception? cause = error; cause is not null; cause = cause.InnerException)
        {
            Assert.DoesNotContain("123", cause.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, _commands.Count);
    }

    private VaultContext New() => vault.New(_commands);
}
