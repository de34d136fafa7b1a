using System.Collections.Immutable;
using EfEnvelope.Analyzers.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;

namespace EfEnvelope.Analyzers;

/// <summary>
/// EFENV001: a DbContext reaches an encrypted property, but nothing in the compilation calls <c>UseEnvelopeEncryption</c>. Without it the attribute has no effect and the column holds plaintext.
/// Reported once a context, where the call belongs.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class EncryptionNeverEnabledAnalyzer : EnvelopeAnalyzer
{
    private static readonly DiagnosticDescriptor Rule = new(
        RuleIds.EncryptionNeverEnabled,
        "Encryption is declared but never enabled",
        "{0} maps {1}, which is declared encrypted, but UseEnvelopeEncryption is never called: the column would hold plaintext",
        RuleIds.Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: RuleIds.HelpLink(RuleIds.EncryptionNeverEnabled));

    /// <inheritdoc />
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rule];

    private protected override void Register(CompilationStartAnalysisContext context, CompilationModel model)
        => context.RegisterSymbolAction(c => Analyze(c, model), SymbolKind.NamedType);

    private static void Analyze(SymbolAnalysisContext context, CompilationModel model)
    {
        var type = (INamedTypeSymbol)context.Symbol;
        if (type.TypeKind != TypeKind.Class || !model.IsContext(type) || model.IsEnabled || HidesItsBase(type, model) || FindEncrypted(type, model) is not { } name)
        {
            return;
        }

        if (type.BaseTypes().Any(b => model.IsInSource(b) && FindEncrypted(b, model) is not null))
        {
            return; // Said of the base context, whose call serves both.
        }

        context.ReportDiagnostic(Diagnostic.Create(Rule, Location(type, context.CancellationToken), type.Name, name));
    }

    /// <summary>A base context of another assembly may make the call where this compilation cannot see it.</summary>
    private static bool HidesItsBase(INamedTypeSymbol type, CompilationModel model)
        => type.BaseTypes().Any(b => !model.IsInSource(b) && model.IsContext(b) && model.MayDeclareEncryption(b));

    private static string? FindEncrypted(INamedTypeSymbol context, CompilationModel model)
    {
        if (!model.IsContext(context))
        {
            return null;
        }

        var own = context.BaseTypes().Where(b => model.IsInSource(b)).Append(context).ToImmutableHashSet<ISymbol?>(SymbolEqualityComparer.Default);
        var pending = new Queue<ITypeSymbol>(context.DataMembers().Select(m => m.DataType()).OfType<INamedTypeSymbol>().Where(t => t.Name == "DbSet").Select(t => t.Element()));
        foreach (var mapped in model.MappedTypes.Where(m => m.Configured ? model.Configures(m.Enclosing, own) : own.Contains(m.Enclosing)))
        {
            pending.Enqueue(mapped.Type);
        }

        var seen = new HashSet<ITypeSymbol>(SymbolEqualityComparer.Default);
        while (pending.Count > 0)
        {
            var type = pending.Dequeue();
            if (type is not INamedTypeSymbol || !seen.Add(type) || !model.MayDeclareEncryption(type))
            {
                continue;
            }

            foreach (var member in type.DataMembers().Where(m => !m.HasAttribute("NotMappedAttribute")))
            {
                if (model.IsEncrypted(member))
                {
                    return Display(member);
                }

                if (member is IPropertySymbol { Type: { } target })
                {
                    pending.Enqueue(target);
                    pending.Enqueue(target.Element());
                }
            }
        }

        return model.FluentEncryptions.FirstOrDefault(f => model.Configures(f.Enclosing, own)) is { } fluent ? fluent.Member is { } property ? Display(property) : "a shadow property" : null;
    }

    private static string Display(ISymbol member) => $"{member.ContainingType.Name}.{member.Name}";

    /// <summary>The part that declares <c>OnModelCreating</c>, else the part that names the base class: where the call belongs.</summary>
    private static Location Location(INamedTypeSymbol type, CancellationToken cancellationToken)
        => type.DeclaringSyntaxReferences.Select(r => r.GetSyntax(cancellationToken)).OfType<ClassDeclarationSyntax>()
            .OrderByDescending(c => c.Members.OfType<MethodDeclarationSyntax>().Any(m => m.Identifier.ValueText == "OnModelCreating"))
            .ThenByDescending(c => c.BaseList is not null)
            .FirstOrDefault()?.Identifier.GetLocation()
            ?? type.Locations[0];
}
