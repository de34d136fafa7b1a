using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Editing;
using Microsoft.CodeAnalysis.Formatting;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>EFENV001: <c>modelBuilder.UseEnvelopeEncryption();</c> last in <c>OnModelCreating</c>, which is overridden where the context does not yet.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp)]
[Shared]
public sealed class EnableEncryptionFix : EnvelopeFix
{
    private const string Key = "Call UseEnvelopeEncryption() last in OnModelCreating";

    /// <inheritdoc />
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [RuleIds.EncryptionNeverEnabled];

    /// <inheritdoc />
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        var root = await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false);
        var semantic = await context.Document.GetSemanticModelAsync(context.CancellationToken).ConfigureAwait(false);
        foreach (var diagnostic in context.Diagnostics)
        {
            if (semantic is not null && Context(root, diagnostic) is { } declaration && CanBeFixed(declaration, semantic))
            {
                Offer(context, diagnostic, Key, Key);
            }
        }
    }

    private protected override async Task ApplyAsync(SolutionEditor editor, ImmutableArray<Diagnostic> diagnostics, string key, CancellationToken cancellationToken)
    {
        foreach (var file in diagnostics.GroupBy(d => editor.OriginalSolution.GetDocument(d.Location.SourceTree)?.Id))
        {
            if (file.Key is null)
            {
                continue;
            }

            var document = await editor.GetDocumentEditorAsync(file.Key, cancellationToken).ConfigureAwait(false);
            var semantic = document.SemanticModel;
            var eol = Usings.EndOfLine(document.OriginalRoot);
            var needed = new List<string>();
            foreach (var declaration in file.Select(d => Context(document.OriginalRoot, d)).OfType<ClassDeclarationSyntax>().Where(c => CanBeFixed(c, semantic)).Distinct())
            {
                if (Override(declaration) is { } method)
                {
                    document.ReplaceNode(method, WithCall(method, eol));
                }
                else
                {
                    document.ReplaceNode(declaration, WithOverride(declaration, semantic, eol));
                }

                needed.AddRange(Needed(semantic, declaration));
            }

            document.ReplaceNode(document.OriginalRoot, (root, _) => needed.Aggregate((CompilationUnitSyntax)root, Usings.With));
        }
    }

    private static ClassDeclarationSyntax? Context(SyntaxNode? root, Diagnostic diagnostic)
        => root?.FindToken(diagnostic.Location.SourceSpan.Start).Parent as ClassDeclarationSyntax;

    private static MethodDeclarationSyntax? Override(ClassDeclarationSyntax declaration)
        => declaration.Members.OfType<MethodDeclarationSyntax>().FirstOrDefault(m => m.Identifier.ValueText == "OnModelCreating" && m.ParameterList.Parameters.Count == 1 && (m.Body is not null || m.ExpressionBody is not null));

    private static bool CanBeFixed(ClassDeclarationSyntax declaration, SemanticModel semantic)
        => Override(declaration) is not null
            || (semantic.GetDeclaredSymbol(declaration) is { } type && type.GetMembers("OnModelCreating").IsEmpty && Inherited(type) is not { IsSealed: true });

    /// <summary>The nearest <c>OnModelCreating</c> of the base classes.</summary>
    private static IMethodSymbol? Inherited(INamedTypeSymbol type)
    {
        for (var current = type.BaseType; current is not null; current = current.BaseType)
        {
            if (current.GetMembers("OnModelCreating").OfType<IMethodSymbol>().FirstOrDefault() is { } found)
            {
                return found;
            }
        }

        return null;
    }

    private static MethodDeclarationSyntax WithCall(MethodDeclarationSyntax method, string eol)
    {
        var call = Statement($"{method.ParameterList.Parameters[0].Identifier.Text}.UseEnvelopeEncryption();", eol);
        if (method.Body is { } body)
        {
            var end = body.Statements.LastOrDefault() is ReturnStatementSyntax ? body.Statements.Count - 1 : body.Statements.Count;
            return method.WithBody(body.WithStatements(body.Statements.Insert(end, call)));
        }

        var statement = SyntaxFactory.ExpressionStatement(method.ExpressionBody!.Expression.WithoutTrivia()).WithAdditionalAnnotations(Formatter.Annotation);
        return method
            .WithExpressionBody(null)
            .WithSemicolonToken(default)
            .WithBody(SyntaxFactory.Block(statement, call).WithTrailingTrivia(method.GetTrailingTrivia()))
            .WithAdditionalAnnotations(Formatter.Annotation);
    }

    private static ClassDeclarationSyntax WithOverride(ClassDeclarationSyntax declaration, SemanticModel semantic, string eol)
    {
        // DbContext's own does nothing.
        var inherited = semantic.GetDeclaredSymbol(declaration) is { } type ? Inherited(type) : null;
        var callsBase = inherited is { IsAbstract: false, ContainingType.Name: not "DbContext" };
        var method = (MethodDeclarationSyntax)SyntaxFactory.ParseMemberDeclaration(
            $$"""

            protected override void OnModelCreating(ModelBuilder modelBuilder)
            {
            {{(callsBase ? "base.OnModelCreating(modelBuilder);\n" : "")}}modelBuilder.UseEnvelopeEncryption();
            }

            """.Replace("\r", "").Replace("\n", eol))!;
        if (declaration.Members.Count == 0)
        {
            method = method.WithoutLeadingTrivia();
        }

        var open = declaration.SemicolonToken.RawKind == 0 ? declaration : declaration
            .WithSemicolonToken(default)
            .WithOpenBraceToken(SyntaxFactory.Token(SyntaxKind.OpenBraceToken))
            .WithCloseBraceToken(SyntaxFactory.Token(SyntaxKind.CloseBraceToken).WithTrailingTrivia(declaration.SemicolonToken.TrailingTrivia))
            .WithAdditionalAnnotations(Formatter.Annotation);
        return open.AddMembers(method.WithAdditionalAnnotations(Formatter.Annotation));
    }

    private static StatementSyntax Statement(string text, string eol) => SyntaxFactory.ParseStatement(text).WithTrailingTrivia(SyntaxFactory.ElasticEndOfLine(eol)).WithAdditionalAnnotations(Formatter.Annotation);

    private static IEnumerable<string> Needed(SemanticModel semantic, ClassDeclarationSyntax declaration)
    {
        var position = declaration.Identifier.SpanStart;
        var builder = semantic.Compilation.GetTypeByMetadataName("Microsoft.EntityFrameworkCore.ModelBuilder");
        if (semantic.LookupSymbols(position, builder, "UseEnvelopeEncryption", includeReducedExtensionMethods: true).IsEmpty)
        {
            yield return "EfEnvelope";
        }

        if (Override(declaration) is null && semantic.LookupNamespacesAndTypes(position, name: "ModelBuilder").IsEmpty)
        {
            yield return "Microsoft.EntityFrameworkCore";
        }
    }
}
