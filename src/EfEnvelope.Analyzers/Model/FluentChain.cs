using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.Model;

/// <summary>Reads <c>Property(c => c.Ssn).HasMaxLength(9).IsEncrypted()</c> from its end.</summary>
internal static class FluentChain
{
    /// <summary>The property that a chain of calls configures, or null.</summary>
    public static ISymbol? PropertyOf(ExpressionSyntax? chain, SemanticModel semantic)
    {
        while (chain is InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax access } call)
        {
            if (access.Name.Identifier.ValueText is "Property" or "PrimitiveCollection" && call.ArgumentList.Arguments.FirstOrDefault() is { } argument)
            {
                return Members(argument.Expression, semantic, EntityOf(access.Expression, semantic)).Select(m => m.Member).FirstOrDefault();
            }

            chain = access.Expression;
        }

        return null;
    }

    /// <summary>The members that an argument names: <c>c => c.Ssn</c>, <c>c => new { c.A, c.B }</c>, <c>"Ssn"</c>, <c>nameof(Customer.Ssn)</c>.</summary>
    public static IEnumerable<(ISymbol Member, ExpressionSyntax Node)> Members(ExpressionSyntax argument, SemanticModel semantic, ITypeSymbol? entity)
    {
        switch (argument)
        {
            case LambdaExpressionSyntax { Body: ExpressionSyntax body }:
                var parts = Unwrap(body) is AnonymousObjectCreationExpressionSyntax created ? created.Initializers.Select(i => i.Expression) : [body];
                foreach (var part in parts)
                {
                    if (Unwrap(part) is MemberAccessExpressionSyntax && semantic.GetSymbolInfo(Unwrap(part)).Symbol is { } member)
                    {
                        yield return (member, part);
                    }
                }

                break;
            default:
                if (entity is not null && semantic.GetConstantValue(argument) is { HasValue: true, Value: string name } && entity.FindMember(name) is { } named)
                {
                    yield return (named, argument);
                }

                break;
        }
    }

    /// <summary>The entity of an <c>EntityTypeBuilder&lt;T&gt;</c> or another generic builder.</summary>
    public static ITypeSymbol? EntityOf(ExpressionSyntax receiver, SemanticModel semantic)
        => (semantic.GetTypeInfo(receiver).Type as INamedTypeSymbol)?.TypeArguments.LastOrDefault();

    private static ExpressionSyntax Unwrap(ExpressionSyntax expression)
        => expression switch
        {
            ParenthesizedExpressionSyntax parenthesized => Unwrap(parenthesized.Expression),
            CastExpressionSyntax cast => Unwrap(cast.Expression),
            PostfixUnaryExpressionSyntax { RawKind: (int)SyntaxKind.SuppressNullableWarningExpression } suppressed => Unwrap(suppressed.Operand),
            _ => expression,
        };
}
