using EfEnvelope.Analyzers.Model;
using Microsoft.CodeAnalysis.Diagnostics;

namespace EfEnvelope.Analyzers;

/// <summary>What the rules share: concurrent, silent on generated code and where EfEnvelope is not referenced; symbols are resolved once a compilation.</summary>
public abstract class EnvelopeAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc />
    public sealed override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.RegisterCompilationStartAction(start =>
        {
            if (CompilationModel.Of(start.Compilation) is { } model)
            {
                Register(start, model);
            }
        });
    }

    private protected abstract void Register(CompilationStartAnalysisContext context, CompilationModel model);
}
