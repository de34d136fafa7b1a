using Check = EfEnvelope.Analyzers.Tests.Verify<EfEnvelope.Analyzers.RefusedOperatorAnalyzer, EfEnvelope.Analyzers.CodeFixes.ClientEvaluationFix>;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>The cases are those of the run-time check (CiphertextRefusalTests).</summary>
public sealed class RefusedOperatorTests
{
    private const string Model =
        """
        public class Person
        {
            public int Id { get; set; } public string City { get; set; } [Encrypted] public string Ssn { get; set; } [Encrypted] public int Score { get; set; } [Encrypted] public bool Active { get; set; }
            [Encrypted] public DateOnly? Born { get; set; } public List<Word> Words { get; set; }
        }
        public class Word { public int Id { get; set; } public string Text { get; set; } [Encrypted] public string Secret { get; set; } }
        public class Shop : DbContext { public DbSet<Person> People { get; set; } public DbSet<Word> Words { get; set; } }

        """;

    [Theory]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|} == wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|} != wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|}.Equals(wanted)).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Score|} > 3).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Score|} + 1 == 3).ToListAsync()")]
    [InlineData("c.People.Where(p => -{|EFENV003:p.Score|} == 3).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Active|}).ToListAsync()")]
    [InlineData("c.People.Where(p => !{|EFENV003:p.Active|}).ToListAsync()")]
    [InlineData("c.People.Where(p => p.City == wanted && {|EFENV003:p.Active|}).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|}.StartsWith(wanted)).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|}.Trim() == wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|}.Length == 3).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Born.Value|}.Year == 1990).ToListAsync()")]
    [InlineData("c.People.Where(p => EF.Functions.Like({|EFENV003:p.Ssn|}, \"1%\")).ToListAsync()")]
    [InlineData("c.People.Where(p => list.Contains({|EFENV003:p.Ssn|})).ToListAsync()")]
    [InlineData("c.People.Where(p => string.IsNullOrEmpty({|EFENV003:p.Ssn|})).ToListAsync()")]
    [InlineData("c.People.Where(p => ({|EFENV003:p.Ssn|} ?? \"none\") == wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => ({|EFENV003:p.City == wanted ? p.Ssn : p.City|}) == wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:EF.Property<string>(p, \"Ssn\")|} == wanted).ToListAsync()")]
    [InlineData("c.People.Where(p => c.Words.Any(w => w.Text == {|EFENV003:p.Ssn|})).ToListAsync()")]
    [InlineData("c.People.Where(p => p.Words.Any(w => {|EFENV003:w.Secret|} == wanted)).ToListAsync()")]
    [InlineData("c.People.Select(p => p.Words.Count(w => {|EFENV003:w.Secret|} == wanted)).ToListAsync()")]
    [InlineData("c.People.AnyAsync(p => {|EFENV003:p.Active|})")]
    [InlineData("c.People.CountAsync(p => {|EFENV003:p.Score|} < 3)")]
    [InlineData("c.People.FirstOrDefaultAsync(p => {|EFENV003:p.Ssn|} == wanted)")]
    [InlineData("c.People.OrderBy(p => {|EFENV003:p.Ssn|}).ToListAsync()")]
    [InlineData("c.People.OrderBy(p => p.City).ThenByDescending(p => {|EFENV003:p.Ssn|}).ToListAsync()")]
    [InlineData("{|EFENV003:c.People.Select(p => p.Ssn)|}.Order().ToListAsync()")]
    [InlineData("c.People.Select(p => p.Ssn).OrderBy(s => {|EFENV003:s|}).ToListAsync()")]
    [InlineData("c.People.Select(p => new { p.City, X = p.Ssn }).Where(x => {|EFENV003:x.X|} == wanted).ToListAsync()")]
    [InlineData("c.People.GroupBy(p => {|EFENV003:p.Ssn|}).CountAsync()")]
    [InlineData("c.People.GroupBy(p => new { p.City, {|EFENV003:p.Score|} }).CountAsync()")]
    [InlineData("c.People.GroupBy(p => p.City).Select(g => g.Max(p => {|EFENV003:p.Ssn|})).ToListAsync()")]
    [InlineData("{|EFENV003:c.People.Select(p => p.Ssn)|}.Distinct().ToListAsync()")]
    [InlineData("{|EFENV003:c.People.Select(p => new { p.City, p.Ssn })|}.Distinct().ToListAsync()")]
    [InlineData("{|EFENV003:c.People.Select(p => p.Ssn)|}.ContainsAsync(wanted)")]
    [InlineData("{|EFENV003:c.People.Select(p => p.Ssn)|}.Union(c.Words.Select(w => w.Text)).ToListAsync()")]
    [InlineData("c.People.SumAsync(p => {|EFENV003:p.Score|})")]
    [InlineData("c.People.MaxAsync(p => {|EFENV003:p.Ssn|})")]
    [InlineData("c.People.Join(c.Words, p => {|EFENV003:p.Ssn|}, w => w.Text, (p, w) => w.Id).ToListAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|} == wanted).ExecuteDeleteAsync()")]
    [InlineData("c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.City, p => {|EFENV003:p.Ssn|}))")]
    [InlineData("c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, p => {|EFENV003:p.City + wanted|}))")]
    [InlineData("(from p in c.People where {|EFENV003:p.Ssn|} == wanted orderby {|EFENV003:p.Score|} select p.Id).ToListAsync()")]
    public Task What_the_database_cannot_do_on_ciphertext_is_reported(string query) => Check.DiagnosticsAsync(Query(query));

    [Theory]
    [InlineData("c.People.Where(p => p.Ssn == null && p.Born != null && p.Born.HasValue).ToListAsync()")]
    [InlineData("c.People.OrderBy(p => p.Id).Select(p => p.Ssn).ToListAsync()")]
    [InlineData("c.People.Select(p => new { p.Id, p.Ssn }).Where(x => x.Id > 3).ToListAsync()")]
    [InlineData("c.People.Select(p => p.Ssn ?? \"none\").ToListAsync()")]
    [InlineData("c.People.Select(p => p.Ssn).Take(3).CountAsync()")]
    [InlineData("c.People.GroupBy(p => p.City, p => p.Ssn).ToListAsync()")]
    [InlineData("c.People.ExecuteUpdateAsync(s => s.SetProperty(p => p.Ssn, wanted))")]
    [InlineData("c.People.Include(p => p.Words.Where(w => w.Text == wanted)).ToListAsync()")]
    [InlineData("c.People.AsAsyncEnumerable().Where(p => p.Ssn == wanted).ToListAsync().AsTask()")]
    [InlineData("Task.FromResult(c.People.AsEnumerable().Where(p => p.Ssn == wanted).OrderBy(p => p.Ssn).ToList())")]
    [InlineData("Task.FromResult(new List<Person>().Where(p => p.Ssn == wanted).ToList())")]
    [InlineData("Task.FromResult(new List<Person>().AsQueryable().Where(p => p.Ssn == wanted).ToList())")]
    [InlineData("Task.FromResult((from p in new List<Person>() where p.Ssn == wanted select p).Distinct().ToList())")]
    [InlineData("c.People.ToDictionaryAsync(p => p.Ssn)")]
    public Task What_is_allowed_or_in_memory_is_left_alone(string query) => Check.DiagnosticsAsync(Query(query));

    [Theory]
    [InlineData("c.People.Where(p => p.")]
    [InlineData("c.People.Where(p => p.Missing == wanted).ToListAsync()")]
    [InlineData("c.People.Where()")]
    [InlineData("c.People.Select(p => new { p. }).Distinct()")]
    [InlineData("c.People.OrderBy(p => ).ThenBy(")]
    [InlineData("from p in c.People where select")]
    [InlineData("c.People.ExecuteUpdateAsync(s => s.SetProperty(p => , p => p.))")]
    public Task Broken_code_raises_no_exception(string query) => Check.DiagnosticsAsync(Query(query), broken: true);

    [Theory]
    [InlineData("await c.People.Where(p => p.City == wanted).Where(p => {|EFENV003:p.Ssn|} == wanted).ToListAsync()", "await c.People.Where(p => p.City == wanted).AsAsyncEnumerable().Where(p => p.Ssn == wanted).ToListAsync()")]
    [InlineData("c.People.OrderBy(p => {|EFENV003:p.Ssn|}).ToList()", "c.People.AsEnumerable().OrderBy(p => p.Ssn).ToList()")]
    [InlineData("c.People.OrderBy(p => p.City).ThenBy(p => {|EFENV003:p.Ssn|}).ToList()", "c.People.AsEnumerable().OrderBy(p => p.City).ThenBy(p => p.Ssn).ToList()")]
    [InlineData("await c.People.FirstOrDefaultAsync(p => {|EFENV003:p.Ssn|} == wanted)", "await c.People.AsAsyncEnumerable().FirstOrDefaultAsync(p => p.Ssn == wanted)")]
    [InlineData("c.People.Count(p => {|EFENV003:p.Active|})", "c.People.AsEnumerable().Count(p => p.Active)")]
    public Task The_fix_evaluates_on_the_client(string query, string repaired) => Check.FixAsync(Statement(query), Statement(repaired));

    [Theory]
    [InlineData("await c.People.Where(p => {|EFENV003:p.Ssn|} == wanted).ExecuteDeleteAsync()")]
    [InlineData("c.People.Where(p => {|EFENV003:p.Ssn|} == wanted).AsNoTracking()")]
    public Task Where_the_client_cannot_take_over_no_fix_is_offered(string query) => Check.FixAsync(Statement(query), Statement(query));

    [Fact]
    public Task The_fix_works_everywhere_at_once()
        => Check.FixAsync(
            Statement("c.People.OrderBy(p => {|EFENV003:p.Ssn|}).ToList(); _ = c.People.Any(p => {|EFENV003:p.Active|})"),
            Statement("c.People.AsEnumerable().OrderBy(p => p.Ssn).ToList(); _ = c.People.AsEnumerable().Any(p => p.Active)"));

    [Fact]
    public Task A_query_goes_to_the_client_once()
        => Check.FixAsync(
            Statement("c.People.Where(p => {|EFENV003:p.Ssn|} == wanted).OrderBy(p => {|EFENV003:p.Score|}).ToList()"),
            Statement("c.People.AsEnumerable().Where(p => p.Ssn == wanted).OrderBy(p => p.Score).ToList()"));

    private static string Query(string query) => Model + "public class Queries { public object Run(Shop c, string wanted, List<string> list) => " + query + "; }";

    private static string Statement(string query) => Model + "public class Queries { public async Task Run(Shop c, string wanted) { await Task.Yield(); _ = " + query + "; } }";
}
