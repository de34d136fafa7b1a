using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.Editing;

namespace EfEnvelope.Analyzers.CodeFixes;

/// <summary>What the fixes share: one edit of the solution serves a single diagnostic and all of them.</summary>
public abstract class EnvelopeFix : CodeFixProvider
{
    /// <inheritdoc />
    public sealed override FixAllProvider GetFixAllProvider() => new AllAtOnce(this);

    /// <summary>Applies the fix that <paramref name="key"/> names to each diagnostic that it serves; the others stay.</summary>
    private protected abstract Task ApplyAsync(SolutionEditor editor, ImmutableArray<Diagnostic> diagnostics, string key, CancellationToken cancellationToken);

    private protected void Offer(CodeFixContext context, Diagnostic diagnostic, string title, string key)
    {
        var solution = context.Document.Project.Solution;
        context.RegisterCodeFix(CodeAction.Create(title, ct => ChangeAsync(solution, [diagnostic], key, ct), key), diagnostic);
    }

    private async Task<Solution> ChangeAsync(Solution solution, ImmutableArray<Diagnostic> diagnostics, string key, CancellationToken cancellationToken)
    {
        var editor = new SolutionEditor(solution);
        await ApplyAsync(editor, diagnostics, key, cancellationToken).ConfigureAwait(false);
        return editor.GetChangedSolution();
    }

    private sealed class AllAtOnce(EnvelopeFix provider) : FixAllProvider
    {
        public override async Task<CodeAction?> GetFixAsync(FixAllContext fixAllContext)
        {
            var projects = fixAllContext.Scope == FixAllScope.Solution ? fixAllContext.Solution.Projects : [fixAllContext.Project];
            var diagnostics = new List<Diagnostic>();
            if (fixAllContext is { Scope: FixAllScope.Document, Document: { } document })
            {
                diagnostics.AddRange(await fixAllContext.GetDocumentDiagnosticsAsync(document).ConfigureAwait(false));
            }
            else
            {
                foreach (var project in projects)
                {
                    diagnostics.AddRange(await fixAllContext.GetAllDiagnosticsAsync(project).ConfigureAwait(false));
                }
            }

            if (diagnostics.Count == 0 || fixAllContext.CodeActionEquivalenceKey is not { } key)
            {
                return null;
            }

            return CodeAction.Create(key, ct => provider.ChangeAsync(fixAllContext.Solution, [.. diagnostics], key, ct), key);
        }

        public override IEnumerable<FixAllScope> GetSupportedFixAllScopes() => [FixAllScope.Document, FixAllScope.Project, FixAllScope.Solution];
    }
}
