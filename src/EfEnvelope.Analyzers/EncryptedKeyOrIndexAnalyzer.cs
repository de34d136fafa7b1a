using System.Collections.Immutable;
using EfEnvelope.Analyzers.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;

namespace EfEnvelope.Analyzers;

/// <summary>
/// EFENV002: an encrypted property is a key, foreign key, index or concurrency token: by attribute, in the fluent form, or by EF's naming conventions. Two envelopes of one value differ, so the model is refused when it is built.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class EncryptedKeyOrIndexAnalyzer : EnvelopeAnalyzer
{
    private static readonly DiagnosticDescriptor Rule = new(
        RuleIds.EncryptedKeyOrIndex,
        "An encrypted property cannot be a key, foreign key, index or concurrency token",
        "{0} is encrypted and {1}: two envelopes of one value differ, so the model is refused",
        RuleIds.Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: RuleIds.HelpLink(RuleIds.EncryptedKeyOrIndex));

    /// <inheritdoc />
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rule];

    private protected override void Register(CompilationStartAnalysisContext context, CompilationModel model)
    {
        context.RegisterSymbolAction(c => AnalyzeType(c, model), SymbolKind.NamedType);
        context.RegisterSyntaxNodeAction(c => AnalyzeCall(c, model), SyntaxKind.InvocationExpression);
    }

    private static void AnalyzeType(SymbolAnalysisContext context, CompilationModel model)
    {
        var type = (INamedTypeSymbol)context.Symbol;
        foreach (var attribute in type.GetAttributes())
        {
            var role = attribute.AttributeClass?.Name switch { "IndexAttribute" => "indexed", "PrimaryKeyAttribute" => "a key", _ => null };
            if (role is null || !IsFramework(attribute.AttributeClass!))
            {
                continue;
            }

            foreach (var name in attribute.ConstructorArguments.SelectMany(a => a.Kind == TypedConstantKind.Array ? a.Values : [a]).Select(v => v.Value).OfType<string>().Distinct())
            {
                if (type.FindMember(name) is { } member && model.IsEncrypted(member))
                {
                    Report(context, member, role, attribute);
                }
            }
        }

        foreach (var member in type.GetMembers())
        {
            if (member is IPropertySymbol { IsStatic: false } or IFieldSymbol { IsStatic: false, IsImplicitlyDeclared: false })
            {
                AnalyzeMember(context, type, member, model);
            }
        }
    }

    private static void AnalyzeMember(SymbolAnalysisContext context, INamedTypeSymbol type, ISymbol member, CompilationModel model)
    {
        var encrypted = model.IsEncrypted(member);
        foreach (var attribute in member.GetAttributes().Where(a => a.AttributeClass is { } c && IsFramework(c)))
        {
            var role = attribute.AttributeClass!.Name switch
            {
                "KeyAttribute" => "a key",
                "ConcurrencyCheckAttribute" or "TimestampAttribute" => "a concurrency token",
                "ForeignKeyAttribute" => "a foreign key",
                _ => null,
            };
            if (role is null)
            {
                continue;
            }

            if (encrypted)
            {
                Report(context, member, role, attribute);
            }
            else if (role == "a foreign key" && attribute.ConstructorArguments.FirstOrDefault().Value is string names)
            {
                // On a navigation the attribute names the properties, of this type or of the dependent.
                foreach (var name in names.Split(',').Select(n => n.Trim()))
                {
                    if ((type.FindMember(name) ?? member.DataType()?.Element().FindMember(name)) is { } key && model.IsEncrypted(key))
                    {
                        Report(context, key, role, attribute);
                    }
                }
            }
        }

        if (encrypted && member is IPropertySymbol property && property.Locations.FirstOrDefault() is { } location)
        {
            if (IsKeyByConvention(type, property, model))
            {
                context.ReportDiagnostic(Diagnostic.Create(Rule, location, Display(member), "a key by its name"));
            }
            else if (IsForeignKeyByConvention(type, property, model))
            {
                context.ReportDiagnostic(Diagnostic.Create(Rule, location, Display(member), "a foreign key by its name"));
            }
        }
    }

    /// <summary>EF's convention: <c>Id</c>, else the type's name and <c>Id</c>, of an entity that declares no key otherwise.</summary>
    private static bool IsKeyByConvention(INamedTypeSymbol type, IPropertySymbol property, CompilationModel model)
        => KeyByConvention(type) is { } key && SymbolEqualityComparer.Default.Equals(key, property)
            && model.IsEntity(type) && !model.HasKeyConfigured(type)
            && !type.HasAttribute("PrimaryKeyAttribute", "KeylessAttribute", "OwnedAttribute", "ComplexTypeAttribute") && !property.HasAttribute("NotMappedAttribute", "KeyAttribute")
            && !type.DataMembers().Any(m => m.HasAttribute("KeyAttribute"));

    private static ISymbol? KeyByConvention(ITypeSymbol type)
        => Find(type, "Id") ?? Find(type, type.Name + "Id");

    private static ISymbol? Find(ITypeSymbol type, string name)
        => type.DataMembers().FirstOrDefault(m => m is IPropertySymbol && string.Equals(m.Name, name, StringComparison.OrdinalIgnoreCase));

    /// <summary>EF's convention: a navigation's name and <c>Id</c> or the principal key's name, of the principal key's type.</summary>
    private static bool IsForeignKeyByConvention(INamedTypeSymbol type, IPropertySymbol property, CompilationModel model)
    {
        if (!model.IsEntity(type) || model.HasForeignKeyConfigured(type) || property.HasAttribute("ForeignKeyAttribute"))
        {
            return false;
        }

        foreach (var navigation in type.DataMembers().OfType<IPropertySymbol>())
        {
            if (navigation.Type is INamedTypeSymbol { TypeKind: TypeKind.Class } principal && model.IsEntity(principal) && !navigation.HasAttribute("ForeignKeyAttribute", "NotMappedAttribute")
                && KeyByConvention(principal) is IPropertySymbol key && SymbolEqualityComparer.Default.Equals(Underlying(key.Type), Underlying(property.Type))
                && new[] { navigation.Name + "Id", navigation.Name + key.Name, principal.Name + "Id" }.Contains(property.Name, StringComparer.OrdinalIgnoreCase))
            {
                return true;
            }
        }

        return false;
    }

    private static ITypeSymbol Underlying(ITypeSymbol type)
        => (type.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T ? type.Element() : type).WithNullableAnnotation(NullableAnnotation.None);

    private static void AnalyzeCall(SyntaxNodeAnalysisContext context, CompilationModel model)
    {
        var call = (InvocationExpressionSyntax)context.Node;
        if (call.Expression is not MemberAccessExpressionSyntax access)
        {
            return;
        }

        var role = access.Name.Identifier.ValueText switch
        {
            "HasKey" or "HasAlternateKey" or "HasPrincipalKey" => "a key",
            "HasIndex" => "indexed",
            "HasForeignKey" => "a foreign key",
            "IsConcurrencyToken" or "IsRowVersion" => "a concurrency token",
            "HasDiscriminator" => "the discriminator",
            _ => null,
        };
        if (role is null || context.SemanticModel.GetSymbolInfo(call, context.CancellationToken).Symbol is not IMethodSymbol method || !IsFramework(method.ContainingType))
        {
            return;
        }

        if (role == "a concurrency token")
        {
            var off = call.ArgumentList.Arguments.FirstOrDefault() is { } argument && context.SemanticModel.GetConstantValue(argument.Expression, context.CancellationToken).Value is false;
            if (!off && FluentChain.PropertyOf(access.Expression, context.SemanticModel) is { } property && model.IsEncrypted(property))
            {
                Report(context, property, role, access.Name);
            }

            return;
        }

        var entity = method.TypeArguments.FirstOrDefault(t => t.TypeKind == TypeKind.Class && model.IsEntity(t)) ?? FluentChain.EntityOf(access.Expression, context.SemanticModel);
        foreach (var argument in call.ArgumentList.Arguments)
        {
            foreach (var (member, node) in FluentChain.Members(argument.Expression, context.SemanticModel, entity))
            {
                if (model.IsEncrypted(member))
                {
                    Report(context, member, role, node);
                }
            }
        }
    }

    private static bool IsFramework(INamedTypeSymbol type)
        => type.ContainingNamespace.ToDisplayString() is var ns
            && (ns.StartsWith("Microsoft.EntityFrameworkCore", StringComparison.Ordinal) || ns.StartsWith("System.ComponentModel.DataAnnotations", StringComparison.Ordinal));

    private static void Report(SymbolAnalysisContext context, ISymbol member, string role, AttributeData attribute)
    {
        if (attribute.ApplicationSyntaxReference?.GetSyntax(context.CancellationToken) is { } syntax)
        {
            context.ReportDiagnostic(Diagnostic.Create(Rule, syntax.GetLocation(), Encryption(member), Display(member), role));
        }
    }

    private static void Report(SyntaxNodeAnalysisContext context, ISymbol member, string role, SyntaxNode node)
        => context.ReportDiagnostic(Diagnostic.Create(Rule, node.GetLocation(), Encryption(member), Display(member), role));

    /// <summary>Where the member is declared, for the fix that takes its <c>[Encrypted]</c> away.</summary>
    private static IEnumerable<Location> Encryption(ISymbol member) => member.Locations.Where(l => l.IsInSource);

    private static string Display(ISymbol member) => $"{member.ContainingType.Name}.{member.Name}";
}
