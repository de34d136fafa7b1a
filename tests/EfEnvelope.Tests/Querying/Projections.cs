// The lambdas are translated to SQL, where the overloads that these rules prefer do not exist.
#pragma warning disable CA1304, CA1305, CA1309, CA1310, CA1311, CA1845, CA1862, CA1866

using Microsoft.EntityFrameworkCore;
using Operators = System.Collections.Generic.Dictionary<string, (string Property, System.Func<EfEnvelope.Tests.Querying.VaultContext, System.Threading.Tasks.Task> Query)>;

namespace EfEnvelope.Tests.Querying;

/// <summary>Expressions over encrypted properties in the last projection, where EF computes in the database what it can and the rest on the client; and what needs no plaintext.</summary>
internal static class Projections
{
    public static readonly Operators Server = new(StringComparer.Ordinal)
    {
        ["??"] = ("Nick", c => c.People.Select(p => p.Nick ?? "none").ToListAsync()),
        ["+"] = ("Ssn", c => c.People.Select(p => p.Ssn + "!").ToListAsync()),
        ["ToUpper"] = ("Ssn", c => c.People.Select(p => p.Ssn.ToUpper()).ToListAsync()),
        ["Substring"] = ("Ssn", c => c.People.Select(p => p.Ssn.Substring(1)).ToListAsync()),
        ["Length"] = ("Ssn", c => c.People.Select(p => p.Ssn.Length).ToListAsync()),
        ["arithmetic"] = ("Score", c => c.People.Select(p => p.Score + 1).ToListAsync()),
        ["conditional with a constant"] = ("Ssn", c => c.People.Select(p => p.City == "Bern" ? p.Ssn : "none").ToListAsync()),
        ["conditional with a plain column"] = ("Ssn", c => c.People.Select(p => p.City == "Bern" ? p.Ssn : p.City).ToListAsync()),
        ["bool as a condition"] = ("Active", c => c.People.Select(p => p.Active ? "yes" : "no").ToListAsync()),
        ["negation"] = ("Active", c => c.People.Select(p => !p.Active).ToListAsync()),
        ["=="] = ("Ssn", c => c.People.Select(p => p.Ssn == "123").ToListAsync()),
        ["cast"] = ("Score", c => c.People.Select(p => (long)p.Score).ToListAsync()),
        ["Year"] = ("Born", c => c.People.Select(p => p.Born!.Value.Year).ToListAsync()),
        ["aggregate of a child"] = ("Serial", c => c.People.Select(p => p.Devices.Max(d => d.Serial)).ToListAsync()),
    };

    public static readonly Dictionary<string, (Func<VaultContext, Task<object>> Query, object Expected)> Client = new(StringComparer.Ordinal)
    {
        ["itself"] = (c => List(c.People, p => p.Ssn), new List<string> { "123", "456" }),
        ["a method that EF does not know"] = (c => List(c.People, p => Reverse(p.Ssn)), new List<string> { "321", "654" }),
        ["a method over several"] = (c => List(c.People, p => Join(p.City, p.Ssn)), new List<string> { "Bern:123", "Basel:456" }),
        ["Count of a collection"] = (c => List(c.People, p => p.Tags == null ? 0 : p.Tags.Count), new List<int> { 1, 0 }),
        ["conditional with NULL"] = (c => List(c.People, p => p.City == "Bern" ? p.Ssn : null), new List<string?> { "123", null }),
        ["cast of an enum to its nullable form"] = (c => List(c.People, p => (Grade?)p.Grade), new List<Grade?> { Grade.Low, Grade.Low }),
        ["NULL test"] = (c => List(c.People, p => p.Nick != null), new List<bool> { true, false }),
        ["tuple"] = (c => List(c.People, p => new ValueTuple<int, decimal>(p.Score, p.Amount)), new List<ValueTuple<int, decimal>> { (4, 5m), (2, 0m) }),
    };

    /// <summary>Each finds the one person of Bern.</summary>
    public static readonly Dictionary<string, Func<VaultContext, IQueryable<Person>>> Served = new(StringComparer.Ordinal)
    {
        ["plain member of an owned document"] = c => c.People.Where(p => p.Papers!.Kind == "k"),
        ["plain member of a complex document"] = c => c.People.Where(p => p.Card.Bank == "b"),
        ["ORDER BY a plain member of a document"] = c => c.People.Where(p => p.Id > 0).OrderByDescending(p => p.Card.Bank).Take(1),
        ["plain member in an array of documents"] = c => c.People.Where(p => p.OldCards.Any(o => o.Bank == "old")),
        ["number of elements of an array"] = c => c.People.Where(p => p.OldCards.Count == 1),
        ["number of elements of an owned array"] = c => c.People.Where(p => p.Stamps.Count == 1 && p.Stamps.Any(s => s.Land == "l")),
        ["document that is there"] = c => c.People.Where(p => p.Papers != null),
        ["plain member of a complex type"] = c => c.People.Where(p => p.Reach.Kind == "home"),
        ["owned type that is there"] = c => c.People.Where(p => p.Home != null),
        ["NULL test of a member of a document"] = c => c.People.Where(p => p.Papers!.Passport != null),
        ["NULL test of a member of a complex document"] = c => c.People.Where(p => p.Card.Number != null),
        ["NULL test of a collection"] = c => c.People.Where(p => p.Tags != null),
        ["NULL test by EF.Property"] = c => c.People.Where(p => EF.Property<string>(p, "Nick") != null),
        ["NULL test by Equals"] = c => c.People.Where(p => !Equals(p.Nick, null)),
        ["NULL test of a captured null"] = c => c.People.FromSqlRaw("SELECT * FROM \"People\"").Where(p => p.Nick != null),
        ["whole rows joined"] = c => c.People.Where(p => c.People.Any(q => q.Id == p.Id && q.City == "Bern")),
        ["Concat of whole rows"] = c => c.People.Where(p => p.City == "Bern").Select(p => p.Id).Concat(c.People.Where(p => p.City == "none").Select(p => p.Id)).Join(c.People, id => id, p => p.Id, (_, p) => p),
    };

    private static async Task<object> List<T>(IQueryable<Person> people, System.Linq.Expressions.Expression<Func<Person, T>> selector) => await people.OrderBy(p => p.Id).Select(selector).ToListAsync();

    private static string Reverse(string text) => new([.. text.Reverse()]);

    private static string Join(string one, string two) => $"{one}:{two}";
}
