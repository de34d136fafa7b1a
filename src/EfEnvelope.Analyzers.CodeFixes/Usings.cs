using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Formatting;

namespace EfEnvelope.Analyzers.CodeFixes;

internal static class Usings
{
    /// <summary>The file with a using of the namespace, in alphabetical order, System first; unchanged where it has one.</summary>
    public static CompilationUnitSyntax With(CompilationUnitSyntax root, string name)
    {
        if (root.DescendantNodes(n => n is CompilationUnitSyntax or BaseNamespaceDeclarationSyntax).OfType<UsingDirectiveSyntax>().Any(u => u.Name?.ToString() == name && u.Alias is null && u.StaticKeyword.RawKind == 0))
        {
            return root;
        }

        var directive = SyntaxFactory.UsingDirective(SyntaxFactory.ParseName(name)).NormalizeWhitespace().WithTrailingTrivia(SyntaxFactory.ElasticEndOfLine(EndOfLine(root))).WithAdditionalAnnotations(Formatter.Annotation);
        var index = root.Usings.TakeWhile(u => u.GlobalKeyword.RawKind != 0 || (u.Alias is null && u.StaticKeyword.RawKind == 0 && Order(u.Name?.ToString(), name) < 0)).Count();
        if (index == 0 && (root.Usings.FirstOrDefault()?.GetFirstToken() ?? root.GetFirstToken()) is var first && first.HasLeadingTrivia && root.Usings.Count > 0)
        {
            // A file's header stays on top.
            directive = directive.WithLeadingTrivia(first.LeadingTrivia);
            root = root.WithUsings(root.Usings.Replace(root.Usings[0], root.Usings[0].WithoutLeadingTrivia()));
        }

        return root.WithUsings(root.Usings.Insert(index, directive));
    }

    /// <summary>How the file ends its lines.</summary>
    public static string EndOfLine(SyntaxNode root)
        => root.DescendantTrivia().Where(t => t.IsKind(SyntaxKind.EndOfLineTrivia)).Select(t => t.ToFullString()).FirstOrDefault() ?? "\n";

    private static int Order(string? left, string right)
        => (IsSystem(right), IsSystem(left)) switch
        {
            (true, false) => 1,
            (false, true) => -1,
            _ => string.CompareOrdinal(left, right),
        };

    private static bool IsSystem(string? name) => name == "System" || name?.StartsWith("System.", StringComparison.Ordinal) == true;
}
