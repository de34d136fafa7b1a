// The lambdas are translated to SQL, where the overloads that these rules prefer do not exist.
#pragma warning disable CA1304, CA1305, CA1309, CA1310, CA1311, CA1845, CA1847, CA1862, CA1866

using System.Text.RegularExpressions;
using Microsoft.EntityFrameworkCore;
using Operators = System.Collections.Generic.Dictionary<string, (string Property, System.Func<EfEnvelope.Tests.Querying.VaultContext, System.Threading.Tasks.Task> Query)>;

namespace EfEnvelope.Tests.Querying;

/// <summary>What ciphertext cannot serve, beyond plain columns: functions of every type, documents, complex and owned types, collections, set operations on whole rows, bulk statements.</summary>
internal static class RefusedOperators
{
    private static readonly string Wanted = "123";
    private static readonly string[] Several = ["123", "456"];
    private static readonly byte[] Bytes = [1, 2];
    private static readonly Card OtherCard = new() { Bank = "b", Number = "123" };
    private static readonly Reach OtherReach = new() { Kind = "k", Phone = "123" };

    public static readonly Operators Functions = new(StringComparer.Ordinal)
    {
        ["Regex.IsMatch"] = ("Ssn", c => c.People.Where(p => Regex.IsMatch(p.Ssn, "^1")).ToListAsync()),
        ["HasFlag"] = ("Rights", c => c.People.Where(p => p.Rights.HasFlag(Rights.Write)).ToListAsync()),
        ["& of flags"] = ("Rights", c => c.People.Where(p => (p.Rights & Rights.Write) == Rights.Write).ToListAsync()),
        ["| of flags"] = ("Rights", c => c.People.Where(p => (p.Rights | Rights.Write) == Rights.Write).ToListAsync()),
        ["~ of flags"] = ("Rights", c => c.People.Where(p => ~p.Rights == Rights.Write).ToListAsync()),
        ["Enum.ToString"] = ("Grade", c => c.People.Where(p => p.Grade.ToString() == "High").ToListAsync()),
        ["string.Compare"] = ("Ssn", c => c.People.Where(p => string.Compare(p.Ssn, "123") > 0).ToListAsync()),
        ["string.Compare with a column"] = ("Ssn", c => c.People.Where(p => string.Compare(p.City, p.Ssn) > 0).ToListAsync()),
        ["string.Concat"] = ("Ssn", c => c.People.Where(p => string.Concat(p.City, p.Ssn) == "123").ToListAsync()),
        ["interpolation"] = ("Ssn", c => c.People.Where(p => $"{p.City}{p.Ssn}" == "123").ToListAsync()),
        ["string.Equals"] = ("Ssn", c => c.People.Where(p => string.Equals(p.Ssn, Wanted)).ToListAsync()),
        ["IndexOf"] = ("Ssn", c => c.People.Where(p => p.Ssn.IndexOf("2") == 1).ToListAsync()),
        ["ToLower"] = ("Ssn", c => c.People.Where(p => p.Ssn.ToLower() == "123").ToListAsync()),
        ["TrimStart"] = ("Ssn", c => c.People.Where(p => p.Ssn.TrimStart() == "123").ToListAsync()),
        ["Substring of a length"] = ("Ssn", c => c.People.Where(p => p.Ssn.Substring(0, 2) == "12").ToListAsync()),
        ["first character"] = ("Ssn", c => c.People.Where(p => p.Ssn.FirstOrDefault() == '1').ToListAsync()),
        ["IsNullOrWhiteSpace"] = ("Nick", c => c.People.Where(p => string.IsNullOrWhiteSpace(p.Nick)).ToListAsync()),
        ["Contains of the other side"] = ("Nick", c => c.People.Where(p => p.City.Contains(p.Nick!)).ToListAsync()),
        ["conversion to text"] = ("Score", c => c.People.Where(p => p.Score.ToString() == "123").ToListAsync()),
        ["conversion to a number"] = ("Ssn", c => c.People.Where(p => Convert.ToInt32(p.Ssn) == 123).ToListAsync()),
        ["cast"] = ("Score", c => c.People.Where(p => (long)p.Score == 123L).ToListAsync()),
        ["cast of an enum"] = ("Grade", c => c.People.Where(p => (int)p.Grade == 1).ToListAsync()),
        ["cast to object"] = ("Ssn", c => c.People.Where(p => (object)p.Ssn == (object)Wanted).ToListAsync()),
        ["Nullable.Value"] = ("Born", c => c.People.Where(p => p.Born!.Value == new DateOnly(1990, 1, 2)).ToListAsync()),
        ["GetValueOrDefault"] = ("Born", c => c.People.Where(p => p.Born.GetValueOrDefault() == new DateOnly(1990, 1, 2)).ToListAsync()),
        ["conditional on both sides"] = ("Score", c => c.People.Where(p => (p.City == "x" ? p.Score : p.Score) == 3).ToListAsync()),
        ["?? of two encrypted columns"] = ("Nick", c => c.People.Where(p => (p.Nick ?? p.Ssn) == Wanted).ToListAsync()),
        ["bool == true"] = ("Active", c => c.People.Where(p => p.Active == true).ToListAsync()),
        ["bool ^ bool"] = ("Active", c => c.People.Where(p => p.Active ^ (p.City == "x")).ToListAsync()),
        ["*"] = ("Amount", c => c.People.Where(p => p.Amount * 2 == 123m).ToListAsync()),
        ["-"] = ("Score", c => c.People.Where(p => p.Id - p.Score == 123).ToListAsync()),
        ["/"] = ("Ratio", c => c.People.Where(p => p.Ratio / 2 < 123d).ToListAsync()),
        ["%"] = ("Score", c => c.People.Where(p => p.Score % 2 == 0).ToListAsync()),
        ["Math.Round"] = ("Amount", c => c.People.Where(p => Math.Round(p.Amount) == 123m).ToListAsync()),
        ["Math.Max"] = ("Score", c => c.People.Where(p => Math.Max(p.Score, p.Id) == 123).ToListAsync()),
        ["Math.Pow"] = ("Ratio", c => c.People.Where(p => Math.Pow(p.Ratio, 2) > 1).ToListAsync()),
        ["Least"] = ("Score", c => c.People.Where(p => EF.Functions.Least(p.Score, p.Id) == 123).ToListAsync()),
        ["date parts"] = ("Born", c => c.People.Where(p => p.Born!.Value.Month == 1 && p.Born.Value.Day == 2).ToListAsync()),
        ["AddDays"] = ("Born", c => c.People.Where(p => p.Born!.Value.AddDays(1) == new DateOnly(1990, 1, 3)).ToListAsync()),
        ["DateTime.Date"] = ("Seen", c => c.People.Where(p => p.Seen.Date == new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc)).ToListAsync()),
        ["DateTime.Hour"] = ("Seen", c => c.People.Where(p => p.Seen.Hour == 1).ToListAsync()),
        ["DateTime difference"] = ("Seen", c => c.People.Where(p => p.Seen > DateTime.UnixEpoch).ToListAsync()),
        ["BETWEEN"] = ("Score", c => c.People.Where(p => p.Score >= 1 && p.Score <= 3).ToListAsync()),
        ["index of bytes"] = ("Photo", c => c.People.Where(p => p.Photo![0] == 1).ToListAsync()),
        ["Contains of bytes"] = ("Photo", c => c.People.Where(p => p.Photo!.Contains((byte)1)).ToListAsync()),
        ["SequenceEqual of bytes"] = ("Photo", c => c.People.Where(p => p.Photo!.SequenceEqual(Bytes)).ToListAsync()),
        ["EF.Property in ORDER BY"] = ("Ssn", c => c.People.OrderBy(p => EF.Property<string>(p, "Ssn")).ToListAsync()),
        ["EF.Property in a function"] = ("Ssn", c => c.People.Where(p => EF.Property<string>(p, "Ssn").StartsWith("1")).ToListAsync()),
        ["FromSql, then =="] = ("Ssn", c => c.People.FromSqlRaw("SELECT * FROM \"People\"").Where(p => p.Ssn == Wanted).ToListAsync()),
        ["FromSql, then ORDER BY"] = ("Score", c => c.People.FromSqlRaw("SELECT * FROM \"People\"").OrderBy(p => p.Score).ToListAsync()),
        ["comparison in the projection of a subquery"] = ("Ssn", c => c.People.Select(p => new { p.Id, Same = p.Ssn == Wanted }).Where(x => x.Same).ToListAsync()),
        ["condition on a projected value"] = ("Ssn", c => c.People.Select(p => new { p.Id, Value = p.Ssn }).Where(x => x.Value == Wanted).ToListAsync()),
        ["ORDER BY of a projected value"] = ("Ssn", c => c.People.Select(p => new { p.Id, Value = p.Ssn }).OrderBy(x => x.Value).Take(1).ToListAsync()),
        ["SkipWhile-like FirstOrDefault with a predicate"] = ("Ssn", c => c.People.FirstOrDefaultAsync(p => p.Ssn == Wanted)),
        ["Single with a predicate"] = ("Ssn", c => c.People.SingleOrDefaultAsync(p => p.Ssn == Wanted)),
        ["Count with a predicate"] = ("Ssn", c => c.People.CountAsync(p => p.Ssn == Wanted)),
        ["Any with a predicate"] = ("Ssn", c => c.People.AnyAsync(p => p.Ssn == Wanted)),
        ["All with a predicate"] = ("Ssn", c => c.People.AllAsync(p => p.Ssn != Wanted)),
        ["Max of a projection"] = ("Born", c => c.People.Select(p => p.Born).MaxAsync()),
        ["Sum of a conditional"] = ("Score", c => c.People.SumAsync(p => p.City == "x" ? p.Score : 0)),
        ["Sum in a group"] = ("Amount", c => c.People.GroupBy(p => p.City).Select(g => new { g.Key, Sum = g.Sum(p => p.Amount) }).ToListAsync()),
        ["Count of a predicate in a group"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => g.Count(p => p.Ssn == Wanted)).ToListAsync()),
        ["HAVING"] = ("Score", c => c.People.GroupBy(p => p.City).Where(g => g.Max(p => p.Score) > 3).Select(g => g.Key).ToListAsync()),
        ["GROUP BY a function"] = ("Born", c => c.People.GroupBy(p => p.Born!.Value.Year).Select(g => g.Count()).ToListAsync()),
        ["MaxBy-like ORDER BY, then First"] = ("Amount", c => c.People.OrderByDescending(p => p.Amount).Select(p => p.Id).FirstOrDefaultAsync()),
        ["DistinctBy-like first of each group"] = ("Ssn", c => c.People.GroupBy(p => p.Ssn).Select(g => g.OrderBy(p => p.Id).First()).ToListAsync()),
        ["ORDER BY in a group"] = ("Score", c => c.People.GroupBy(p => p.City).Select(g => g.OrderBy(p => p.Score).First()).ToListAsync()),
        ["GroupJoin"] = ("Ssn", c => c.People.GroupJoin(c.Words, p => p.Ssn, w => w.Text, (p, w) => new { p.Id, Words = w.Count() }).ToListAsync()),
        ["JOIN of a composite key"] = ("Ssn", c => c.People.Join(c.Words, p => new { A = p.City, B = p.Ssn }, w => new { A = w.Text, B = w.Text }, (p, w) => p.Id).ToListAsync()),
        ["self-join on one encrypted column"] = ("Ssn", c => c.People.Join(c.People, p => p.Ssn, q => q.Ssn, (p, q) => q.Id).ToListAsync()),
        ["correlated count"] = ("Ssn", c => c.Words.Select(w => c.People.Count(p => p.Ssn == w.Text)).ToListAsync()),
        ["IN of a list with NULL"] = ("Nick", c => c.People.Where(p => new[] { null, Wanted }.Contains(p.Nick)).ToListAsync()),
        ["NOT IN"] = ("Ssn", c => c.People.Where(p => !Several.Contains(p.Ssn)).ToListAsync()),
        ["Any over a list"] = ("Ssn", c => c.People.Where(p => Several.Any(s => s == p.Ssn)).ToListAsync()),
        ["Any over a list with a function"] = ("Ssn", c => c.People.Where(p => Several.Any(s => p.Ssn.StartsWith(s))).ToListAsync()),
        ["All over a list"] = ("Ssn", c => c.People.Where(p => Several.All(s => s != p.Ssn)).ToListAsync()),
    };

    public static readonly Operators Collections = new(StringComparer.Ordinal)
    {
        ["Contains in a collection"] = ("Tags", c => c.People.Where(p => p.Tags!.Contains("123")).ToListAsync()),
        ["Contains in an array"] = ("Codes", c => c.People.Where(p => p.Codes!.Contains(123)).ToListAsync()),
        ["Any in a collection"] = ("Tags", c => c.People.Where(p => p.Tags!.Any(t => t == "123")).ToListAsync()),
        ["Any element at all"] = ("Tags", c => c.People.Where(p => p.Tags!.Any()).ToListAsync()),
        ["Count of a collection"] = ("Tags", c => c.People.Where(p => p.Tags!.Count == 1).ToListAsync()),
        ["Length of an array"] = ("Codes", c => c.People.Where(p => p.Codes!.Length == 1).ToListAsync()),
        ["index of a collection"] = ("Tags", c => c.People.Where(p => p.Tags![0] == "123").ToListAsync()),
        ["Max of a collection"] = ("Codes", c => c.People.OrderBy(p => p.Codes!.Max()).ToListAsync()),
        ["Intersect of a collection"] = ("Tags", c => c.People.Where(p => p.Tags!.Intersect(Several).Any()).ToListAsync()),
        ["== of a collection"] = ("Codes", c => c.People.Where(p => p.Codes == new[] { 123 }).ToListAsync()),
        ["SelectMany of a collection"] = ("Tags", c => c.People.SelectMany(p => p.Tags!).ToListAsync()),
        ["ORDER BY a collection"] = ("Tags", c => c.People.OrderBy(p => p.Tags).ToListAsync()),
        ["a column in an encrypted collection"] = ("Tags", c => c.Words.Where(w => c.People.Any(p => p.Tags!.Contains(w.Text))).ToListAsync()),
    };

    public static readonly Operators Structures = new(StringComparer.Ordinal)
    {
        ["== in a complex type"] = ("Phone", c => c.People.Where(p => p.Reach.Phone == Wanted).ToListAsync()),
        ["== of a complex type"] = ("Phone", c => c.People.Where(p => p.Reach == OtherReach).ToListAsync()),
        ["== of two complex types"] = ("Phone", c => c.People.Where(p => c.People.Any(q => q.Id != p.Id && q.Reach == p.Reach)).ToListAsync()),
        ["Contains of a complex type"] = ("Phone", c => c.People.Where(p => new[] { OtherReach }.Contains(p.Reach)).ToListAsync()),
        ["DISTINCT of a complex type"] = ("Phone", c => c.People.Select(p => p.Reach).Distinct().ToListAsync()),
        ["GROUP BY a complex type"] = ("Phone", c => c.People.GroupBy(p => p.Reach).Select(g => new { g.Key, Count = g.Count() }).ToListAsync()),
        ["UNION of a complex type"] = ("Phone", c => c.People.Select(p => p.Reach).Union(c.People.Select(p => p.Reach)).ToListAsync()),
        ["== in an owned type"] = ("Street", c => c.People.Where(p => p.Home!.Street == Wanted).ToListAsync()),
        ["ORDER BY in an owned type"] = ("Street", c => c.People.OrderBy(p => p.Home!.Street).ToListAsync()),
        ["== in an owned collection"] = ("Serial", c => c.People.Where(p => p.Devices.Any(d => d.Serial == Wanted)).ToListAsync()),
        ["ORDER BY in an owned collection"] = ("Serial", c => c.People.Select(p => p.Devices.OrderBy(d => d.Serial).Select(d => d.Kind).First()).ToListAsync()),
        ["DISTINCT of an owned collection"] = ("Serial", c => c.People.SelectMany(p => p.Devices).Select(d => d.Serial).Distinct().ToListAsync()),
        ["== in a complex document"] = ("Number", c => c.People.Where(p => p.Card.Number == Wanted).ToListAsync()),
        ["== of a complex document"] = ("Number", c => c.People.Where(p => p.Card == OtherCard).ToListAsync()),
        ["!= of a complex document"] = ("Number", c => c.People.Where(p => p.Card != OtherCard).ToListAsync()),
        ["== of two complex documents"] = ("Number", c => c.People.Where(p => c.People.Any(q => q.Id != p.Id && q.Card == p.Card)).ToListAsync()),
        ["DISTINCT of a complex document"] = ("Number", c => c.People.Select(p => p.Card).Distinct().ToListAsync()),
        ["GROUP BY a complex document"] = ("Number", c => c.People.GroupBy(p => p.Card).Select(g => g.Count()).ToListAsync()),
        ["UNION of a complex document"] = ("Number", c => c.People.Select(p => p.Card).Union(c.People.Select(p => p.Card)).ToListAsync()),
        ["StartsWith in a complex document"] = ("Number", c => c.People.Where(p => p.Card.Number!.StartsWith("1")).ToListAsync()),
        ["== in a complex collection"] = ("Number", c => c.People.Where(p => p.OldCards.Any(o => o.Number == Wanted)).ToListAsync()),
        ["index of a complex collection"] = ("Number", c => c.People.Where(p => p.OldCards[0].Number == Wanted).ToListAsync()),
        ["Contains of a complex collection"] = ("Number", c => c.People.Where(p => p.OldCards.Contains(OtherCard)).ToListAsync()),
        ["== of complex collections"] = ("Number", c => c.People.Where(p => p.OldCards == new List<Card> { OtherCard }).ToListAsync()),
        ["ORDER BY in a complex collection"] = ("Number", c => c.People.Select(p => p.OldCards.OrderBy(o => o.Number).Select(o => o.Bank).First()).ToListAsync()),
        ["== in an owned document"] = ("Passport", c => c.People.Where(p => p.Papers!.Passport == Wanted).ToListAsync()),
        ["LIKE in an owned document"] = ("Passport", c => c.People.Where(p => EF.Functions.Like(p.Papers!.Passport!, "1%")).ToListAsync()),
        ["IN in an owned document"] = ("Passport", c => c.People.Where(p => Several.Contains(p.Papers!.Passport)).ToListAsync()),
        ["GROUP BY in an owned document"] = ("Passport", c => c.People.GroupBy(p => p.Papers!.Passport).Select(g => g.Count()).ToListAsync()),
        ["== in an owned array of documents"] = ("Visa", c => c.People.Where(p => p.Stamps.Any(s => s.Visa == Wanted)).ToListAsync()),
        ["index of an owned array of documents"] = ("Visa", c => c.People.Where(p => p.Stamps[0].Visa == Wanted).ToListAsync()),
        ["ORDER BY in an owned array of documents"] = ("Visa", c => c.People.Select(p => p.Stamps.OrderBy(s => s.Visa).Select(s => s.Land).First()).ToListAsync()),
        ["DISTINCT of whole rows"] = ("Active", c => c.People.AsNoTracking().Distinct().ToListAsync()),
        ["UNION of whole rows"] = ("Active", c => c.People.Where(p => p.City == "a").Union(c.People.Where(p => p.City == "b")).ToListAsync()),
        ["INTERSECT of whole rows"] = ("Active", c => c.People.Where(p => p.City == "a").Intersect(c.People.Where(p => p.City == "b")).ToListAsync()),
        ["EXCEPT of whole rows"] = ("Active", c => c.People.Where(p => p.City == "a").Except(c.People.Where(p => p.City == "b")).ToListAsync()),
    };

    public static readonly Operators Bulk = new(StringComparer.Ordinal)
    {
        ["ExecuteUpdate by an expression"] = ("Ssn", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => p.Ssn + "x"))),
        ["ExecuteUpdate from another encrypted column"] = ("Ssn", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => p.Nick))),
        ["ExecuteUpdate from a plain column"] = ("Ssn", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => p.City))),
        ["ExecuteUpdate of a number"] = ("Score", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Score, p => p.Score + 1))),
        ["ExecuteUpdate by a conditional"] = ("Ssn", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => p.City == "x" ? Wanted : p.Ssn))),
        ["ExecuteUpdate by a subquery"] = ("Ssn", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => c.Words.Select(w => w.Text).First()))),
        ["ExecuteUpdate of a plain column by a function"] = ("Ssn", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.City, p => p.Ssn.ToUpper()))),
        ["ExecuteUpdate of a plain column by a condition"] = ("Ssn", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.City, p => p.Ssn == Wanted ? "a" : "b"))),
        ["ExecuteUpdate without the tenant"] = ("Ssn", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, Wanted))),
        ["ExecuteUpdate in a document"] = ("Passport", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Papers!.Passport, Wanted))),
        ["ExecuteUpdate in a complex document"] = ("Number", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Card.Number, Wanted))),
        ["ExecuteUpdate of a complex document"] = ("Number", c => c.People.Where(p => p.TenantId == VaultFixture.Tenant).ExecuteUpdateAsync(s => s.SetProperty(p => p.Card, OtherCard))),
        ["ExecuteUpdate from a complex document's member"] = ("Number", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.City, p => p.Card.Number))),
        ["ExecuteUpdate into a complex document's plain member"] = ("Ssn", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Card.Bank, p => p.Ssn))),
        ["ExecuteUpdate of a plain member by an encrypted one"] = ("Number", c => c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Card.Bank, p => p.Card.Number))),
        ["ExecuteDelete by a function"] = ("Ssn", c => c.People.Where(p => p.Ssn.StartsWith("1")).ExecuteDeleteAsync()),
        ["ExecuteDelete in a document"] = ("Number", c => c.People.Where(p => p.Card.Number == Wanted).ExecuteDeleteAsync()),
    };

    public static readonly Operators Sqlite = new(StringComparer.Ordinal)
    {
        ["Glob"] = ("Ssn", c => c.People.Where(p => EF.Functions.Glob(p.Ssn, "1*")).ToListAsync()),
        ["Hex"] = ("Photo", c => c.People.Where(p => EF.Functions.Hex(p.Photo!) == "01").ToListAsync()),
        ["Substr"] = ("Photo", c => c.People.Where(p => EF.Functions.Substr(p.Photo!, 1) == Bytes).ToListAsync()),
    };

    public static readonly Operators Postgres = new(StringComparer.Ordinal)
    {
        ["ILike"] = ("Ssn", c => c.People.Where(p => EF.Functions.ILike(p.Ssn, "1%")).ToListAsync()),
        ["ILike on armour"] = ("Note", c => c.People.Where(p => EF.Functions.ILike(p.Note!, "1%")).ToListAsync()),
        ["as the pattern of ILike"] = ("Nick", c => c.People.Where(p => EF.Functions.ILike(p.City, p.Nick!)).ToListAsync()),
        ["Regex without case"] = ("Ssn", c => c.People.Where(p => Regex.IsMatch(p.Ssn, "^1", RegexOptions.IgnoreCase)).ToListAsync()),
        ["full text"] = ("Ssn", c => c.People.Where(p => EF.Functions.ToTsVector("english", p.Ssn).Matches("1")).ToListAsync()),
        ["Reverse"] = ("Ssn", c => c.People.Where(p => EF.Functions.Reverse(p.Ssn) == "321").ToListAsync()),
        ["StringToArray"] = ("Ssn", c => c.People.Where(p => EF.Functions.StringToArray(p.Ssn, ",").Contains("1")).ToListAsync()),
        ["ArrayAgg"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => EF.Functions.ArrayAgg(g.Select(p => p.Ssn))).ToListAsync()),
        ["JsonAgg"] = ("Ssn", c => c.People.GroupBy(p => p.City).Select(g => EF.Functions.JsonAgg(g.Select(p => p.Ssn))).ToListAsync()),
        ["Any with ILike over a list"] = ("Ssn", c => c.People.Where(p => Several.Any(s => EF.Functions.ILike(p.Ssn, s))).ToListAsync()),
        ["row value"] = ("Score", c => c.People.Select(p => ValueTuple.Create(p.Score, p.Amount)).ToListAsync()),
        ["GreaterThan of rows"] = ("Score", c => c.People.Where(p => EF.Functions.GreaterThan(ValueTuple.Create(p.Score, p.Id), ValueTuple.Create(1, 2))).ToListAsync()),
    };
}
