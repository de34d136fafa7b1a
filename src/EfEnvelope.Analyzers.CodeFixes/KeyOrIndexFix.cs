using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Editing;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>EFENV002: two ways out, each by its name: the property is not encrypted, or it is no longer indexed or a concurrency token. A key needs another property, which no fix can choose.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(KeyOrIndexFix))]
[Shared]
public sealed class KeyOrIndexFix : EnvelopeFix
{
    /// <inheritdoc />
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [RuleIds.EncryptedKeyOrIndex];

    /// <inheritdoc />
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        foreach (var diagnostic in context.Diagnostics)
        {
            foreach (var (title, _, _) in await WaysOutAsync(context.Document.Project.Solution, diagnostic, context.CancellationToken).ConfigureAwait(false))
            {
                Offer(context, diagnostic, title, title);
            }
        }
    }

    private protected override async Task ApplyAsync(SolutionEditor editor, ImmutableArray<Diagnostic> diagnostics, string key, CancellationToken cancellationToken)
    {
        var removed = new List<(DocumentId Document, SyntaxNode Node)>();
        foreach (var diagnostic in diagnostics)
        {
            var ways = await WaysOutAsync(editor.OriginalSolution, diagnostic, cancellationToken).ConfigureAwait(false);
            removed.AddRange(ways.Where(w => w.Title == key).Select(w => (w.Document, w.Node)));
        }

        foreach (var file in removed.Distinct().GroupBy(r => r.Document, r => r.Node))
        {
            var document = await editor.GetDocumentEditorAsync(file.Key, cancellationToken).ConfigureAwait(false);
            var root = document.OriginalRoot.TrackNodes(file);
            foreach (var node in file)
            {
                root = root.GetCurrentNode(node) switch
                {
                    AttributeSyntax attribute => Without(root, attribute),
                    ExpressionStatementSyntax statement => WithoutIndex(root, statement),
                    InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax access } call => root.ReplaceNode(call, access.Expression.WithTrailingTrivia(call.GetTrailingTrivia())),
                    _ => root,
                };
            }

            document.ReplaceNode(document.OriginalRoot, root);
        }
    }

    /// <summary>Each way out: its title, and what it takes away.</summary>
    private static async Task<List<(string Title, DocumentId Document, SyntaxNode Node)>> WaysOutAsync(Solution solution, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        var found = new List<(string, DocumentId, SyntaxNode)>();
        if (solution.GetDocument(diagnostic.Location.SourceTree) is not { } document || await document.GetSyntaxRootAsync(cancellationToken).ConfigureAwait(false) is not { } root)
        {
            return found;
        }

        var span = diagnostic.Location.SourceSpan;
        var node = root.FindNode(span, getInnermostNodeForTie: true);
        if (node.FirstAncestorOrSelf<AttributeSyntax>() is { } attribute && attribute.Span == span
            && (Name(attribute) is "ConcurrencyCheck" or "Timestamp" || (Name(attribute) == "Index" && attribute.ArgumentList?.Arguments.Count(a => a.NameEquals is null) == 1)))
        {
            found.Add(($"Remove [{Name(attribute)}]", document.Id, attribute));
        }

        if (node is IdentifierNameSyntax { Identifier.ValueText: "IsConcurrencyToken" or "IsRowVersion", Parent.Parent: InvocationExpressionSyntax token } name)
        {
            found.Add(($"Remove {name.Identifier.ValueText}()", document.Id, token));
        }

        // An index over several properties is not this one's to take away.
        if (node.FirstAncestorOrSelf<ExpressionStatementSyntax>() is { } statement && HasIndex(statement.Expression) is { ArgumentList.Arguments: { Count: 1 } arguments } index && index.Span.Contains(span)
            && arguments[0].Expression is not (LambdaExpressionSyntax { Body: AnonymousObjectCreationExpressionSyntax } or ArrayCreationExpressionSyntax or ImplicitArrayCreationExpressionSyntax or CollectionExpressionSyntax))
        {
            found.Add(("Remove the index", document.Id, statement));
        }

        var declared = diagnostic.AdditionalLocations.Count > 0 ? diagnostic.AdditionalLocations[0] : diagnostic.Location;
        if (solution.GetDocument(declared.SourceTree) is { } declaring && await declaring.GetSyntaxRootAsync(cancellationToken).ConfigureAwait(false) is { } declaringRoot
            && Attributes(declaringRoot.FindNode(declared.SourceSpan)).FirstOrDefault(a => Name(a) == "Encrypted") is { } encrypted)
        {
            found.Add(("Remove [Encrypted]", declaring.Id, encrypted));
        }

        return found;
    }

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
    private static SyntaxNode WithoutIndex(SyntaxNode root, ExpressionStatementSyntax statement)
    {
        var index = HasIndex(statement.Expression)!;
        var receiver = ((MemberAccessExpressionSyntax)index.Expression).Expression;
        return receiver is InvocationExpressionSyntax
            ? root.ReplaceNode(statement.Expression, receiver.WithTriviaFrom(statement.Expression))
            : statement.Parent is BlockSyntax or SwitchSectionSyntax { Statements.Count: > 1 }
                ? root.RemoveNode(statement, SyntaxRemoveOptions.KeepNoTrivia)!
                : root.ReplaceNode(statement, SyntaxFactory.Block().WithTriviaFrom(statement)); // The body of an if or a loop, or a statement of the program itself.
    }
}
