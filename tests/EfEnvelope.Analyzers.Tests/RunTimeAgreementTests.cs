using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>Holds EFENV003 to the queries that the run-time check is held to: what is refused there is reported here, what is allowed there is not.</summary>
public sealed class RunTimeAgreementTests
{
    private static readonly string Querying = Path.Combine(Repository(), "tests", "EfEnvelope.Tests", "Querying");

    private static readonly CompilationUnitSyntax Cases = CSharpSyntaxTree.ParseText(File.ReadAllText(Path.Combine(Querying, "CiphertextRefusalTests.cs"))).GetCompilationUnitRoot();

    private const string Fields = "    private static readonly string Wanted = \"\";\n    private static readonly string[] List = [];";

    /// <summary>Documents, complex types and rows compared or made distinct as a whole; values behind a collection or a function of the database; bulk updates without a condition on the tenant.</summary>
    private static readonly string[] Unseen =
    [
        "index of bytes",
        "comparison in the projection of a subquery",
        "Any in a collection",
        "SelectMany of a collection",
        "== of a complex type",
        "== of two complex types",
        "Contains of a complex type",
        "DISTINCT of a complex type",
        "GROUP BY a complex type",
        "UNION of a complex type",
        "== of a complex document",
        "!= of a complex document",
        "== of two complex documents",
        "DISTINCT of a complex document",
        "GROUP BY a complex document",
        "UNION of a complex document",
        "encrypted index of a complex collection",
        "encrypted index of an owned collection",
        "argument of a function of the database",
        "argument of a function of the database in a filter",
        "Contains of a complex collection",
        "== of complex collections",
        "== of a document in a lateral join",
        "== of a document in a lateral join's filter",
        "== of a document in a count",
        "DISTINCT of documents in a lateral join",
        "== of a page's elements of a complex collection",
        "== of a collection's elements behind a page",
        "== of a part in a collection's elements",
        "!= of a part in a count of elements",
        "== of a part in a page of elements",
        "DISTINCT of a part of elements",
        "GROUP BY a part of elements",
        "== of a part at an index",
        "== of a part with another document",
        "DISTINCT of whole rows",
        "UNION of whole rows",
        "INTERSECT of whole rows",
        "EXCEPT of whole rows",
        "ExecuteUpdate from another encrypted column",
        "ExecuteUpdate by a subquery",
        "ExecuteUpdate without the tenant",
        "ExecuteUpdate in a document",
        "ExecuteUpdate in a complex document",
        "ExecuteUpdate of a complex document",
        "ExecuteUpdate of a part by a whole document",
        "ExecuteUpdate of a document by a part",
        "ExecuteUpdate of a plain member by a search in elements",
    ];

    [Fact]
    public async Task Every_query_that_is_refused_when_it_runs_is_reported_with_its_property()
    {
        var refused = Cases.DescendantNodes().OfType<VariableDeclaratorSyntax>().Single(v => v.Identifier.ValueText == "Refused").DescendantNodes().OfType<TupleExpressionSyntax>()
            .Select(t => (Property: ((LiteralExpressionSyntax)t.Arguments[0].Expression).Token.ValueText, Query: ((LambdaExpressionSyntax)t.Arguments[1].Expression).Body.ToString()))
            .ToList();
        Assert.True(refused.Count > 70, $"only {refused.Count} queries found");

        var methods = refused.Select((r, i) => $"    public static Task Case{i}(VaultContext c) => {r.Query};\n");
        var found = await FindAsync(string.Concat(methods));

        var missed = refused.Where((r, i) => !found.Any(f => f.Method == $"Case{i}" && f.Message.Contains($".{r.Property} is encrypted", StringComparison.Ordinal))).Select(r => r.Query);
        Assert.Equal([], missed);
    }

    [Fact]
    public async Task No_query_that_is_right_when_it_runs_is_reported()
    {
        var allowed = Cases.DescendantNodes().OfType<MethodDeclarationSyntax>().Single(m => m.Identifier.ValueText == "Null_tests_and_projections_are_right");
        Assert.True(allowed.Body!.Statements.Count > 8);

        Assert.Equal([], await FindAsync($"    private static VaultContext New() => null!;\n    {allowed}"));
    }

    /// <summary>The wider list: functions, collections, documents, owned and complex types, bulk statements. What the rule does not see of it stands here by name; it is refused when it runs.</summary>
    [Fact]
    public async Task Of_the_wider_list_the_rule_misses_what_is_named_here_and_nothing_else()
    {
        var file = CSharpSyntaxTree.ParseText(File.ReadAllText(Path.Combine(Querying, "RefusedOperators.cs"))).GetCompilationUnitRoot();
        var refused = file.DescendantNodes().OfType<VariableDeclaratorSyntax>().Where(v => v.Identifier.ValueText is "Functions" or "Collections" or "Structures" or "Bulk")
            .SelectMany(v => v.DescendantNodes().OfType<AssignmentExpressionSyntax>())
            .Where(a => a is { Left: ImplicitElementAccessSyntax, Right: TupleExpressionSyntax })
            .Select(a => (
                Name: ((LiteralExpressionSyntax)((ImplicitElementAccessSyntax)a.Left).ArgumentList.Arguments[0].Expression).Token.ValueText,
                Property: ((LiteralExpressionSyntax)((TupleExpressionSyntax)a.Right).Arguments[0].Expression).Token.ValueText,
                Query: ((LambdaExpressionSyntax)((TupleExpressionSyntax)a.Right).Arguments[1].Expression).Body.ToString()))
            .ToList();
        Assert.True(refused.Count > 140, $"only {refused.Count} queries found");

        var fields = file.DescendantNodes().OfType<FieldDeclarationSyntax>().Where(f => f.Modifiers.Any(SyntaxKind.PrivateKeyword)).Select(f => f.ToString());
        var found = await FindAsync(string.Join('\n', refused.Select((r, i) => $"    public static Task Case{i}(VaultContext c) => {r.Query};")), string.Join('\n', fields), "using System.Text.RegularExpressions;\n");

        var missed = refused.Where((r, i) => !found.Any(f => f.Method == $"Case{i}" && f.Message.Contains($".{r.Property} is encrypted", StringComparison.Ordinal))).Select(r => r.Name);
        Assert.Equal(Unseen.Order(StringComparer.Ordinal), missed.Order(StringComparer.Ordinal));
    }

    private static async Task<List<(string Method, string Message)>> FindAsync(string members, string fields = Fields, string usings = "")
        => (await Rules.FindAsync(
                new RefusedOperatorAnalyzer(),
                Rules.Usings,
                File.ReadAllText(Path.Combine(Querying, "VaultContext.cs")),
                usings + "using Xunit;\nnamespace EfEnvelope.Tests.Querying;\npublic sealed class FactAttribute : System.Attribute;\ninternal static class VaultFixture\n{\n    public static readonly Guid Tenant = Guid.Empty;\n}\npublic sealed class Queries\n{\n" + fields + "\n" + members + "\n}\n"))
            .Select(d => (d.Location.SourceTree!.GetRoot().FindNode(d.Location.SourceSpan).FirstAncestorOrSelf<MethodDeclarationSyntax>()!.Identifier.ValueText, d.GetMessage(null)))
            .ToList();

    private static string Repository()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "EfEnvelope.sln")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException("EfEnvelope.sln is in no folder above the tests.");
        }

        return folder.FullName;
    }
}
