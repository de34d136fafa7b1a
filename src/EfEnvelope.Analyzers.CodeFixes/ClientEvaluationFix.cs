using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Editing;
using Microsoft.CodeAnalysis.Text;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>
/// EFENV003: evaluates the operator, and what follows it, on the client. Offered only where the changed code compiles: not before an <c>ExecuteDelete</c>, nor where an <c>IQueryable</c> is wanted.
/// </summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(ClientEvaluationFix))]
[Shared]
public sealed class ClientEvaluationFix : EnvelopeFix
{
    /// <inheritdoc />
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [RuleIds.RefusedOperator];

    /// <inheritdoc />
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        if (await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is not { } root)
        {
            return;
        }

        foreach (var diagnostic in context.Diagnostics)
        {
            if (Find(root, diagnostic) is { } step && await CompilesAsync(context.Document, root, step, context.CancellationToken).ConfigureAwait(false))
            {
                Offer(context, diagnostic, $"Read the rows and evaluate this on the client: {step.Method}()", step.Method);
            }
        }
    }

    private protected override async Task ApplyAsync(SolutionEditor editor, ImmutableArray<Diagnostic> diagnostics, string key, CancellationToken cancellationToken)
    {
        foreach (var file in diagnostics.GroupBy(d => editor.OriginalSolution.GetDocument(d.Location.SourceTree)))
        {
            if (file.Key is null)
            {
                continue;
            }

            var document = await editor.GetDocumentEditorAsync(file.Key.Id, cancellationToken).ConfigureAwait(false);

            // What follows the first such operator of a query is on the client with it.
            var steps = file.Select(d => Find(document.OriginalRoot, d)).OfType<Step>().Where(s => s.Method == key).GroupBy(s => s.Query).Select(q => q.OrderBy(s => s.Source.Span.Length).First());
            foreach (var step in steps)
            {
                if (await CompilesAsync(file.Key, document.OriginalRoot, step, cancellationToken).ConfigureAwait(false))
                {
                    document.ReplaceNode(step.Source, (source, _) => With((ExpressionSyntax)source, step.Method));
                }
            }
        }
    }

    private static Step? Find(SyntaxNode root, Diagnostic diagnostic)
    {
        if (diagnostic.AdditionalLocations.Count == 0
            || root.FindNode(diagnostic.AdditionalLocations[0].SourceSpan, getInnermostNodeForTie: true) is not InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax access } call)
        {
            return null;
        }

        // ThenBy needs the ordering that it refines beside it.
        while (access.Name.Identifier.ValueText.StartsWith("ThenBy", StringComparison.Ordinal) && access.Expression is InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax previous })
        {
            access = previous;
        }

        SyntaxNode query = call;
        while (query.Parent is MemberAccessExpressionSyntax or InvocationExpressionSyntax)
        {
            query = query.Parent;
        }

        return new Step(query, access.Expression, query.Parent is AwaitExpressionSyntax ? "AsAsyncEnumerable" : "AsEnumerable");
    }

    private static InvocationExpressionSyntax With(ExpressionSyntax source, string method)
        => SyntaxFactory.InvocationExpression(SyntaxFactory.MemberAccessExpression(SyntaxKind.SimpleMemberAccessExpression, source.WithoutTrailingTrivia(), SyntaxFactory.IdentifierName(method)))
            .WithTrailingTrivia(source.GetTrailingTrivia());

    private static async Task<bool> CompilesAsync(Document document, SyntaxNode root, Step step, CancellationToken cancellationToken)
    {
        SyntaxNode member = step.Query.FirstAncestorOrSelf<MemberDeclarationSyntax>() ?? root;
        var changed = root.ReplaceNode(step.Source, With(step.Source, step.Method));
        var span = new TextSpan(member.SpanStart, member.Span.Length + changed.FullSpan.Length - root.FullSpan.Length);
        return await ErrorsAsync(document.WithSyntaxRoot(changed), span, cancellationToken).ConfigureAwait(false) <= await ErrorsAsync(document, member.Span, cancellationToken).ConfigureAwait(false);
    }

    private static async Task<int> ErrorsAsync(Document document, TextSpan span, CancellationToken cancellationToken)
        => await document.GetSemanticModelAsync(cancellationToken).ConfigureAwait(false) is { } model
            ? model.GetDiagnostics(span, cancellationToken).Count(d => d.Severity == DiagnosticSeverity.Error)
            : int.MaxValue;

    /// <summary>Where a query goes on to the client: after its <paramref name="source"/>.</summary>
    private sealed class Step(SyntaxNode query, ExpressionSyntax source, string method)
    {
        public SyntaxNode Query { get; } = query;

        public ExpressionSyntax Source { get; } = source;

        public string Method { get; } = method;
    }
}
