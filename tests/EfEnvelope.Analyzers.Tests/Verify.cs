using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp.Testing;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Testing;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>Runs a rule and its fixes over code that references the real EF Core and EfEnvelope. Expected diagnostics are marked {|EFENV001:so|}.</summary>
internal static class Verify<TAnalyzer, TFix>
    where TAnalyzer : DiagnosticAnalyzer, new()
    where TFix : CodeFixProvider, new()
{
    public static Task ReportsAsync(string code) => ReportsAsync([code]);

    public static Task ReportsAsync(string[] files) => Rules.AssertAsync(new TAnalyzer(), files, broken: false);

    /// <summary>As <see cref="ReportsAsync(string)"/>, with the usual usings beside the code.</summary>
    public static Task DiagnosticsAsync(string code, bool broken = false) => Rules.AssertAsync(new TAnalyzer(), [code, Rules.Usings], broken);

    public static Task FixAsync(string code, string @fixed, string? key = null) => FixesAsync([code, Rules.Usings], [@fixed, Rules.Usings], key, code == @fixed ? 0 : null);

    /// <summary>Broken code: whatever the compiler says, the rule throws nothing.</summary>
    public static Task SurvivesAsync(string code) => Rules.AssertAsync(new TAnalyzer(), [code], broken: true);

    /// <summary>The fix of the given key, one by one and all at once, gives the same code.</summary>
    public static Task FixesAsync(string code, string @fixed, string? key = null, int? rounds = null) => FixesAsync([code], [@fixed], key, rounds);

    public static async Task FixesAsync(string[] files, string[] @fixed, string? key = null, int? rounds = null, string[]? allAtOnce = null)
    {
        var test = new Test { CodeActionEquivalenceKey = key, NumberOfIncrementalIterations = rounds };
        Add(test.TestState, files);
        Add(test.FixedState, @fixed);
        if (allAtOnce is not null)
        {
            Add(test.BatchFixedState, allAtOnce);
            test.BatchFixedState.AdditionalReferences.AddRange(Rules.Platform);
        }

        test.FixedState.MarkupHandling = MarkupMode.Allow;
        await test.RunAsync();
    }

    /// <summary>The rule reports, and offers no fix (of the given key).</summary>
    public static Task FixesNothingAsync(string code, string? key = null) => FixesAsync(code, code, key, 0);

    private static void Add(SolutionState state, string[] files)
    {
        for (var i = 0; i < files.Length; i++)
        {
            state.Sources.Add(($"/0/File{i}.cs", files[i].ReplaceLineEndings("\n")));
        }
    }

    private sealed class Test : CSharpCodeFixTest<TAnalyzer, TFix, DefaultVerifier>
    {
        public Test()
        {
            ReferenceAssemblies = new ReferenceAssemblies("net10.0");
            TestState.AdditionalReferences.AddRange(Rules.Platform);
            FixedState.AdditionalReferences.AddRange(Rules.Platform);
            TestState.AnalyzerConfigFiles.Add(("/.editorconfig", "root = true\n[*.cs]\nend_of_line = lf\nindent_style = space\nindent_size = 4\n"));
            SolutionTransforms.Add((solution, id) =>
            {
                var project = solution.GetProject(id)!;
                var compilation = (Microsoft.CodeAnalysis.CSharp.CSharpCompilationOptions)project.CompilationOptions!;
                var parse = (Microsoft.CodeAnalysis.CSharp.CSharpParseOptions)project.ParseOptions!;
                return solution
                    .WithProjectCompilationOptions(id, compilation.WithNullableContextOptions(NullableContextOptions.Enable))
                    .WithProjectParseOptions(id, parse.WithLanguageVersion(Microsoft.CodeAnalysis.CSharp.LanguageVersion.CSharp14));
            });
        }
    }
}
