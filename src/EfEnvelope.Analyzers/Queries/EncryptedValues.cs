using EfEnvelope.Analyzers.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace EfEnvelope.Analyzers.Queries;

/// <summary>Follows an encrypted property through conversions, projections and lambda parameters.</summary>
internal sealed class EncryptedValues(CompilationModel model)
{
    private const int MaxDepth = 32;

    /// <summary>The encrypted member that this operation's value is, unchanged; null where it is none.</summary>
    public ISymbol? Of(IOperation operation, int depth = 0)
    {
        operation = QueryOperators.Unwrap(operation);
        if (depth > MaxDepth)
        {
            return null;
        }

        switch (operation)
        {
            case IMemberReferenceOperation { Member: var member } when model.IsEncrypted(member):
                return member;
            case IPropertyReferenceOperation { Property: { Name: "Value", ContainingType.OriginalDefinition.SpecialType: SpecialType.System_Nullable_T }, Instance: { } nullable }:
                return Of(nullable, depth + 1);
            case IPropertyReferenceOperation { Instance: { } instance } projected:
                return Created(instance, depth + 1) is { } created ? Assigned(created, projected.Property.Name) is { } value ? Of(value, depth + 1) : null : null;
            case IParameterReferenceOperation parameter:
                return Origin(parameter) is { } origin ? Of(origin, depth + 1) : null;
            case IConditionalOperation { WhenTrue: { } whenTrue, WhenFalse: { } whenFalse }:
                return Of(whenTrue, depth + 1) ?? Of(whenFalse, depth + 1);
            case IInvocationOperation { TargetMethod: { Name: "Property", ContainingType.Name: "EF" } } named when named.Arguments.Length == 2:
                return named.Arguments[1].Value.ConstantValue.Value is string name && QueryOperators.Unwrap(named.Arguments[0].Value).Type?.FindMember(name) is { } found && model.IsEncrypted(found) ? found : null;
            case IInvocationOperation scalar when QueryOperators.Name(scalar.TargetMethod) is "First" or "FirstOrDefault" or "Single" or "SingleOrDefault" or "Last" or "LastOrDefault" or "ElementAt":
                return QueryOperators.Source(scalar) is { } source && Element(source) is { } element ? Of(element, depth + 1) : null;
            default:
                return null;
        }
    }

    /// <summary>The encrypted members in the elements of a sequence that was projected.</summary>
    public IEnumerable<ISymbol> Elements(IOperation sequence)
        => Element(sequence) is { } element ? Parts(element).Select(p => Of(p)).OfType<ISymbol>() : [];

    /// <summary>For each value in the elements of a sequence that was projected its encrypted member, or null; null where no projection is seen.</summary>
    public IReadOnlyList<ISymbol?>? Columns(IOperation sequence)
        => Element(sequence) is { } element ? [.. Parts(element).Select(p => Of(p))] : null;

    /// <summary>A value, or the values of an anonymous or initialized object.</summary>
    public static IEnumerable<IOperation> Parts(IOperation operation)
        => QueryOperators.Unwrap(operation) switch
        {
            IAnonymousObjectCreationOperation anonymous => anonymous.Initializers.OfType<ISimpleAssignmentOperation>().SelectMany(a => Parts(a.Value)),
            IObjectCreationOperation { Initializer: { } initializer } => initializer.Initializers.OfType<ISimpleAssignmentOperation>().SelectMany(a => Parts(a.Value)),
            var value => [value],
        };

    /// <summary>The expression that made the elements of a sequence: the body of its Select.</summary>
    private static IOperation? Element(IOperation? sequence)
    {
        while (sequence is IInvocationOperation call)
        {
            if (call.TargetMethod.Name == "Select")
            {
                return call.Arguments.Select(a => QueryOperators.Lambda(a.Value)).FirstOrDefault(l => l is not null) is { } lambda ? QueryOperators.Body(lambda) : null;
            }

            if (!QueryOperators.Preserves(call.TargetMethod))
            {
                return null;
            }

            sequence = QueryOperators.Source(call);
        }

        return null;
    }

    private static IOperation? Origin(IParameterReferenceOperation reference)
    {
        for (var current = reference.Parent; current is not null; current = current.Parent)
        {
            if (current is IAnonymousFunctionOperation lambda && lambda.Symbol.Parameters.Contains(reference.Parameter, SymbolEqualityComparer.Default))
            {
                var owner = current.Parent;
                while (owner is not null and not IInvocationOperation)
                {
                    if (owner is IArgumentOperation { Parameter.Name: "innerKeySelector" })
                    {
                        return null;
                    }

                    owner = owner.Parent;
                }

                // Only a first parameter stands for an element of the first argument.
                return owner is IInvocationOperation call && lambda.Symbol.Parameters[0].Equals(reference.Parameter, SymbolEqualityComparer.Default) ? Element(QueryOperators.Source(call)) : null;
            }
        }

        return null;
    }

    private static IOperation? Created(IOperation instance, int depth)
    {
        instance = QueryOperators.Unwrap(instance);
        if (depth > MaxDepth)
        {
            return null;
        }

        return instance switch
        {
            IAnonymousObjectCreationOperation or IObjectCreationOperation => instance,
            IParameterReferenceOperation parameter => Origin(parameter) is { } origin ? Created(origin, depth + 1) : null,
            IPropertyReferenceOperation { Instance: { } outer } nested => Created(outer, depth + 1) is { } created && Assigned(created, nested.Property.Name) is { } value ? Created(value, depth + 1) : null,
            _ => null,
        };
    }

    private static IOperation? Assigned(IOperation created, string name)
    {
        var initializers = created switch
        {
            IAnonymousObjectCreationOperation anonymous => anonymous.Initializers,
            IObjectCreationOperation { Initializer: { } initializer } => initializer.Initializers,
            _ => [],
        };
        return initializers.OfType<ISimpleAssignmentOperation>().FirstOrDefault(a => a.Target is IPropertyReferenceOperation p && p.Property.Name == name)?.Value;
    }
}
