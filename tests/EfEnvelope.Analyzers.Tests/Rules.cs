using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Testing;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>Runs a rule over a compilation whose references are read once for all tests.</summary>
internal static class Rules
{
    /// <summary>The usings that the tests' code goes without.</summary>
    public const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.ComponentModel.DataAnnotations;
        global using System.ComponentModel.DataAnnotations.Schema;
        global using System.Linq;
        global using System.Threading.Tasks;
        global using EfEnvelope;
        global using Microsoft.EntityFrameworkCore;
        """;

    private static readonly CSharpParseOptions Parse = new(LanguageVersion.CSharp14);

    public static IReadOnlyList<MetadataReference> Platform { get; } =
        [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(p => Path.GetFileName(p) is var f && (f.StartsWith("System.", StringComparison.Ordinal) || f.StartsWith("Microsoft.EntityFrameworkCore", StringComparison.Ordinal)
                || f is "EfEnvelope.dll" or "xunit.assert.dll" or "netstandard.dll" or "mscorlib.dll"))
            .Select(p => MetadataReference.CreateFromFile(p))];

    private static readonly CSharpCompilation Empty = CSharpCompilation.Create("Consumer", [CSharpSyntaxTree.ParseText("", Parse)], Platform, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Annotations));

    public static async Task AssertAsync(DiagnosticAnalyzer rule, string[] files, bool broken)
    {
        var expected = new List<string>();
        var trees = new List<SyntaxTree>();
        foreach (var (file, i) in files.Select((f, i) => (f, i)))
        {
            TestFileMarkupParser.GetSpans(file, out var code, out ImmutableDictionary<string, ImmutableArray<Microsoft.CodeAnalysis.Text.TextSpan>> spans);
            trees.Add(CSharpSyntaxTree.ParseText(code, Parse, $"File{i}.cs"));
            expected.AddRange(spans.SelectMany(s => s.Value, (s, span) => $"File{i}.cs {span} {s.Key}"));
        }

        var found = await FindAsync(rule, trees, broken);
        Assert.Equal(
            expected.Order(StringComparer.Ordinal),
            found.Select(d => d.Id == "AD0001" ? d.ToString() : $"{d.Location.SourceTree?.FilePath} {d.Location.SourceSpan} {d.Id}").Order(StringComparer.Ordinal));
    }

    public static Task<ImmutableArray<Diagnostic>> FindAsync(DiagnosticAnalyzer rule, params string[] files)
        => FindAsync(rule, files.Select((f, i) => CSharpSyntaxTree.ParseText(f, Parse, $"File{i}.cs")), broken: false);

    private static Task<ImmutableArray<Diagnostic>> FindAsync(DiagnosticAnalyzer rule, IEnumerable<SyntaxTree> trees, bool broken)
    {
        var compilation = Empty.AddSyntaxTrees(trees);
        if (!broken)
        {
            Assert.Empty(compilation.GetDiagnostics().Where(d => d.Severity == DiagnosticSeverity.Error));
        }

        return compilation.WithAnalyzers([rule]).GetAnalyzerDiagnosticsAsync();
    }
}
