using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>EFENV002: two ways out, each by its name: the property is not encrypted, or it is no longer an index or a concurrency token.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(KeyOrIndexFix))]
[Shared]
public sealed class KeyOrIndexFix : CodeFixProvider
{
    /// <inheritdoc />
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [RuleIds.EncryptedKeyOrIndex];

    /// <inheritdoc />
    public override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc />
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        if (await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is not { } root)
        {
            return;
        }

        var node = root.FindNode(context.Span, getInnermostNodeForTie: true);
        var attribute = node.FirstAncestorOrSelf<AttributeSyntax>();
        if (attribute is not null && attribute.Span == context.Span
            && (Name(attribute) is "ConcurrencyCheck" or "Timestamp" || (Name(attribute) == "Index" && attribute.ArgumentList?.Arguments.Count(a => a.NameEquals is null) == 1)))
        {
            Register(context, $"Remove [{Name(attribute)}]", _ => Task.FromResult(context.Document.WithSyntaxRoot(Without(root, attribute)).Project.Solution));
        }

        if (node.FirstAncestorOrSelf<ExpressionStatementSyntax>() is { } statement && HasIndex(statement.Expression) is { } index && index.Span.Contains(context.Span)
            && index.ArgumentList.Arguments.FirstOrDefault()?.Expression is not LambdaExpressionSyntax { Body: AnonymousObjectCreationExpressionSyntax } && index.ArgumentList.Arguments.Count == 1)
        {
            Register(context, "Remove the index", _ => Task.FromResult(context.Document.WithSyntaxRoot(WithoutIndex(root, statement, index)).Project.Solution));
        }

        var declared = context.Diagnostics[0].AdditionalLocations.Count > 0 ? context.Diagnostics[0].AdditionalLocations[0] : context.Diagnostics[0].Location;
        if (declared.SourceTree is { } tree && context.Document.Project.Solution.GetDocument(tree) is { } document
            && await document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is { } declaring
            && Attributes(declaring.FindNode(declared.SourceSpan)).FirstOrDefault(a => Name(a) == "Encrypted") is { } encrypted)
        {
            Register(context, "Remove [Encrypted]", _ => Task.FromResult(document.WithSyntaxRoot(Without(declaring, encrypted)).Project.Solution));
        }
    }

    private static void Register(CodeFixContext context, string title, Func<CancellationToken, Task<Solution>> change)
        => context.RegisterCodeFix(CodeAction.Create(title, change, title), context.Diagnostics);

    private static IEnumerable<AttributeSyntax> Attributes(SyntaxNode node)
    {
        var lists = node.FirstAncestorOrSelf<SyntaxNode>(n => n is MemberDeclarationSyntax or ParameterSyntax) switch
        {
            MemberDeclarationSyntax member => member.AttributeLists,
            ParameterSyntax parameter => parameter.AttributeLists,
            _ => default,
        };
        return lists.SelectMany(l => l.Attributes);
    }

    private static string Name(AttributeSyntax attribute)
    {
        var name = attribute.Name is QualifiedNameSyntax qualified ? qualified.Right.Identifier.ValueText : attribute.Name.ToString();
        return name.EndsWith("Attribute", StringComparison.Ordinal) ? name.Substring(0, name.Length - 9) : name;
    }

    private static SyntaxNode Without(SyntaxNode root, AttributeSyntax attribute)
    {
        var list = (AttributeListSyntax)attribute.Parent!;
        if (list.Attributes.Count > 1)
        {
            return root.RemoveNode(attribute, SyntaxRemoveOptions.KeepNoTrivia)!;
        }

        // What follows takes the list's place, with the trivia that stood before it.
        var next = list.GetLastToken().GetNextToken();
        var leading = list.GetLeadingTrivia();
        var annotation = new SyntaxAnnotation();
        root = root.ReplaceToken(next, next.WithAdditionalAnnotations(annotation));
        var again = root.FindNode(list.Span, getInnermostNodeForTie: true).FirstAncestorOrSelf<AttributeListSyntax>()!;
        root = root.RemoveNode(again, SyntaxRemoveOptions.KeepNoTrivia)!;
        var follower = root.GetAnnotatedTokens(annotation).First();
        return root.ReplaceToken(follower, follower.WithLeadingTrivia(leading));
    }

    private static InvocationExpressionSyntax? HasIndex(ExpressionSyntax chain)
    {
        while (chain is InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax access } call)
        {
            if (access.Name.Identifier.ValueText == "HasIndex")
            {
                return call;
            }

            chain = access.Expression;
        }

        return null;
    }

    /// <summary>What stands before <c>HasIndex</c> stays where it is a call, since <c>Entity&lt;T&gt;()</c> also maps the type.</summary>
    private static SyntaxNode WithoutIndex(SyntaxNode root, ExpressionStatementSyntax statement, InvocationExpressionSyntax index)
    {
        var receiver = ((MemberAccessExpressionSyntax)index.Expression).Expression;
        return receiver is InvocationExpressionSyntax
            ? root.ReplaceNode(statement.Expression, receiver.WithTriviaFrom(statement.Expression))
            : root.RemoveNode(statement, SyntaxRemoveOptions.KeepNoTrivia)!;
    }
}
