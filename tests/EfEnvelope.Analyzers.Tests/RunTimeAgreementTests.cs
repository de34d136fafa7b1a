using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>Holds EFENV003 to the queries that the run-time check is held to: what is refused there is reported here, what is allowed there is not.</summary>
public sealed class RunTimeAgreementTests
{
    private static readonly string Querying = Path.Combine(Repository(), "tests", "EfEnvelope.Tests", "Querying");

    private static readonly CompilationUnitSyntax Cases = CSharpSyntaxTree.ParseText(File.ReadAllText(Path.Combine(Querying, "CiphertextRefusalTests.cs"))).GetCompilationUnitRoot();

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

    private static async Task<List<(string Method, string Message)>> FindAsync(string members)
        => (await Rules.FindAsync(
                new RefusedOperatorAnalyzer(),
                Rules.Usings,
                File.ReadAllText(Path.Combine(Querying, "VaultContext.cs")),
                "using Xunit;\nnamespace EfEnvelope.Tests.Querying;\npublic sealed class FactAttribute : System.Attribute;\npublic sealed class Queries\n{\n    private static readonly string Wanted = \"\";\n    private static readonly string[] List = [];\n" + members + "\n}\n"))
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
