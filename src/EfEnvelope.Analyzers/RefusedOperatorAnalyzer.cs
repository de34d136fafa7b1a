using System.Collections.Immutable;
using EfEnvelope.Analyzers.Model;
using EfEnvelope.Analyzers.Queries;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace EfEnvelope.Analyzers;

/// <summary>
/// EFENV003: an operator of a database query works on an encrypted property. The database would compare ciphertext, so the query is refused when it is compiled; projections and null checks are allowed.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class RefusedOperatorAnalyzer : EnvelopeAnalyzer
{
    private static readonly DiagnosticDescriptor Rule = new(
        RuleIds.RefusedOperator,
        "A query operator cannot work on an encrypted property",
        "{0} is encrypted: {1} cannot be evaluated in the database, and the query is refused",
        RuleIds.Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: RuleIds.HelpLink(RuleIds.RefusedOperator));

    /// <inheritdoc />
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rule];

    private protected override void Register(CompilationStartAnalysisContext context, CompilationModel model)
    {
        if (model.Queryable is not null && model.Expression is not null)
        {
            context.RegisterOperationAction(c => Analyze(c, model), OperationKind.Invocation);
        }
    }

    private static void Analyze(OperationAnalysisContext context, CompilationModel model)
    {
        var call = (IInvocationOperation)context.Operation;
        if (!QueryOperators.IsDatabaseOperator(call))
        {
            return;
        }

        new OperatorCheck(model, (node, member, what) =>
            context.ReportDiagnostic(Diagnostic.Create(Rule, node.Syntax.GetLocation(), [call.Syntax.GetLocation()], $"{member.ContainingType.Name}.{member.Name}", what))).Check(call);
    }
}
