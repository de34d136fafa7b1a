using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>
/// EFENV003: evaluates the operator, and what follows it, on the client. Offered only where the changed code compiles: not before an <c>ExecuteDelete</c>, nor where an <c>IQueryable</c> is wanted.
/// </summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(ClientEvaluationFix))]
[Shared]
public sealed class ClientEvaluationFix : CodeFixProvider
{
    /// <inheritdoc />
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [RuleIds.RefusedOperator];

    /// <inheritdoc />
    public override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc />
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        if (context.Diagnostics[0].AdditionalLocations.Count == 0
            || await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is not { } root
            || root.FindNode(context.Diagnostics[0].AdditionalLocations[0].SourceSpan, getInnermostNodeForTie: true) is not InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax access } call)
        {
            return;
        }

        // ThenBy needs the ordering that it refines beside it.
        while (access.Name.Identifier.ValueText.StartsWith("ThenBy", StringComparison.Ordinal) && access.Expression is InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax previous })
        {
            access = previous;
        }

        SyntaxNode outermost = call;
        while (outermost.Parent is MemberAccessExpressionSyntax or InvocationExpressionSyntax)
        {
            outermost = outermost.Parent;
        }

        var method = outermost.Parent is AwaitExpressionSyntax ? "AsAsyncEnumerable" : "AsEnumerable";
        var inserted = SyntaxFactory.InvocationExpression(SyntaxFactory.MemberAccessExpression(
            SyntaxKind.SimpleMemberAccessExpression, access.Expression.WithoutTrailingTrivia(), SyntaxFactory.IdentifierName(method))).WithTrailingTrivia(access.Expression.GetTrailingTrivia());
        var changed = context.Document.WithSyntaxRoot(root.ReplaceNode(access.Expression, inserted));
        if (await CompilesAsync(context.Document, changed, context.CancellationToken).ConfigureAwait(false))
        {
            context.RegisterCodeFix(CodeAction.Create($"Read the rows and evaluate this on the client: {method}()", _ => Task.FromResult(changed), method), context.Diagnostics);
        }
    }

    private static async Task<bool> CompilesAsync(Document before, Document after, CancellationToken cancellationToken)
        => await ErrorsAsync(after, cancellationToken).ConfigureAwait(false) <= await ErrorsAsync(before, cancellationToken).ConfigureAwait(false);

    private static async Task<int> ErrorsAsync(Document document, CancellationToken cancellationToken)
        => await document.GetSemanticModelAsync(cancellationToken).ConfigureAwait(false) is { } model
            ? model.GetDiagnostics(cancellationToken: cancellationToken).Count(d => d.Severity == DiagnosticSeverity.Error)
            : int.MaxValue;
}
