using EfEnvelope.Analyzers.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace EfEnvelope.Analyzers.Queries;

/// <summary>
/// Says of one query operator where it would compute on ciphertext, as the run-time check does on the SQL tree: projecting and null checks are allowed, everything else is not. Where this cannot tell - the last
/// projection, which EF may evaluate on the client - it is silent.
/// </summary>
internal sealed class OperatorCheck(CompilationModel model, Action<IOperation, ISymbol, string> report)
{
    private readonly EncryptedValues _values = new(model);

    public void Check(IInvocationOperation call)
    {
        var name = QueryOperators.Name(call.TargetMethod);
        if (QueryOperators.IsSetProperty(call))
        {
            CheckSetter(call);
            return;
        }

        var hasSelector = false;
        foreach (var argument in call.Arguments)
        {
            // A plain delegate, as of ToDictionaryAsync, runs on the client; inside an expression tree the operators of Enumerable are translated too.
            if (QueryOperators.Lambda(argument.Value) is not { } lambda || QueryOperators.Body(lambda) is not { } body
                || (argument.Parameter?.Type.Name != "Expression" && !QueryOperators.IsEnumerable(call.TargetMethod)))
            {
                continue;
            }

            hasSelector = true;
            switch (argument.Parameter?.Name)
            {
                case "predicate" or "filter":
                    Value(body, name);
                    break;
                case "keySelector" or "outerKeySelector" or "innerKeySelector":
                    Value(body, name);
                    break;
                case "selector" when name is "Min" or "Max" or "Sum" or "Average":
                    Value(body, name);
                    break;
                default:
                    Projection(body);
                    break;
            }
        }

        if (name == "Concat" && call.Arguments.Length == 2)
        {
            CheckConcat(Sequence(call.Arguments[0].Value), Sequence(call.Arguments[1].Value));
        }

        if (!hasSelector && call.Arguments.Length > 0 && name is "Distinct" or "Union" or "Intersect" or "Except" or "Order" or "OrderDescending" or "Contains" or "Min" or "Max" or "Sum" or "Average")
        {
            foreach (var source in call.Arguments.Take(name is "Union" or "Intersect" or "Except" ? 2 : 1))
            {
                if (_values.Elements(QueryOperators.Unwrap(source.Value)).FirstOrDefault() is { } member)
                {
                    report(Sequence(source.Value), member, name);
                    break;
                }
            }
        }
    }

    /// <summary>Concat keeps envelopes as they are: sound where each column is the same on both sides, silent where one side is not seen.</summary>
    private void CheckConcat(IOperation first, IOperation second)
    {
        if (_values.Columns(first) is not { } left || _values.Columns(second) is not { } right)
        {
            return;
        }

        foreach (var (l, r) in left.Zip(right, (l, r) => (l, r)))
        {
            if (!SymbolEqualityComparer.Default.Equals(l, r))
            {
                report(l is null ? second : first, (l ?? r)!, "Concat with another column");
                return;
            }
        }
    }

    private static IOperation Sequence(IOperation source) => QueryOperators.Unwrap(source);

    private void CheckSetter(IInvocationOperation call)
    {
        var value = call.Arguments.FirstOrDefault(a => a.Parameter?.Ordinal == 1)?.Value;
        if (value is null || QueryOperators.Lambda(value) is not { } lambda || QueryOperators.Body(lambda) is not { } body)
        {
            return;
        }

        Value(body, "SetProperty");
        if (QueryOperators.Lambda(call.Arguments[0].Value) is { } target && QueryOperators.Body(target) is { } property && _values.Of(property) is { } member
            && _values.Of(body) is null && body.DescendantsAndSelf().Any(o => o is IParameterReferenceOperation p && lambda.Symbol.Parameters.Contains(p.Parameter, SymbolEqualityComparer.Default)))
        {
            report(body, member, "a value that the database computes");
        }
    }

    /// <summary>The value is used by <paramref name="consumer"/>, and so is each part of a composite key.</summary>
    private void Value(IOperation operation, string consumer)
    {
        Strict(operation);
        foreach (var part in EncryptedValues.Parts(operation))
        {
            Use(part, consumer);
        }
    }

    private void Use(IOperation? operation, string what)
    {
        if (operation is not null && _values.Of(operation) is { } member)
        {
            report(QueryOperators.Unwrap(operation), member, what);
        }
    }

    /// <summary>Nested queries of a projection run in the database; its own expressions may run on the client.</summary>
    private void Projection(IOperation body)
    {
        foreach (var nested in body.DescendantsAndSelf().OfType<IInvocationOperation>().Where(i => QueryOperators.IsEnumerable(i.TargetMethod)))
        {
            Check(nested);
        }

        // EF translates string.Join over a group to an aggregate.
        foreach (var join in body.DescendantsAndSelf().OfType<IInvocationOperation>().Where(i => i.TargetMethod is { Name: "Join" or "Concat", ContainingType.SpecialType: SpecialType.System_String }))
        {
            foreach (var sequence in join.Arguments.Select(a => Sequence(a.Value)).Where(IsOverGroup))
            {
                if (_values.Elements(sequence).FirstOrDefault() is { } member)
                {
                    report(sequence, member, $"string.{join.TargetMethod.Name}");
                }
            }
        }
    }

    private static bool IsOverGroup(IOperation sequence)
    {
        while (sequence is IInvocationOperation call && QueryOperators.Source(call) is { } source)
        {
            sequence = source;
        }

        return sequence.Type?.Name == "IGrouping";
    }

    private void Strict(IOperation operation)
    {
        switch (operation)
        {
            case IInvocationOperation call when QueryOperators.IsDatabaseOperator(call):
                if (call.Instance is not null || call.Arguments.Length == 0)
                {
                    return;
                }

                // Its lambdas are looked at as an operator of their own; what it compares is seen here only where it is a plain value.
                if (QueryOperators.Name(call.TargetMethod) == "Contains" && call.Arguments.Length > 1)
                {
                    Use(call.Arguments[1].Value, "Contains");
                }

                return;
            case IInvocationOperation call when QueryOperators.IsEnumerable(call.TargetMethod) && call.Arguments.Any(a => QueryOperators.Lambda(a.Value) is not null):
                Check(call);
                Strict(QueryOperators.Unwrap(call.Arguments[0].Value));
                return;
            case IInvocationOperation call when _values.Of(call) is null:
                if (!IsNullTest(call))
                {
                    Use(call.Instance, call.TargetMethod.Name);
                    foreach (var argument in call.Arguments)
                    {
                        Use(argument.Value, call.TargetMethod.Name);
                        if (argument.Value is IArrayCreationOperation { Initializer: { } elements })
                        {
                            foreach (var element in elements.ElementValues)
                            {
                                Use(element, call.TargetMethod.Name);
                            }
                        }
                    }
                }

                break;
            case IBinaryOperation binary when !IsNull(binary.LeftOperand) && !IsNull(binary.RightOperand):
                Use(binary.LeftOperand, $"operator {Symbol(binary.OperatorKind)}");
                Use(binary.RightOperand, $"operator {Symbol(binary.OperatorKind)}");
                break;
            case IUnaryOperation unary:
                Use(unary.Operand, unary.OperatorKind == UnaryOperatorKind.Not ? "operator !" : "operator -");
                break;
            case ICoalesceOperation coalesce:
                Use(coalesce.Value, "operator ??");
                break;
            case IConditionalOperation conditional:
                Use(conditional.Condition, "a condition");
                break;
            case IPropertyReferenceOperation { Instance: { } instance } property when _values.Of(property) is null && property.Property.Name != "HasValue":
                Use(instance, property.Property.Name);
                break;
            case IInterpolationOperation interpolation:
                Use(interpolation.Expression, "an interpolated string");
                break;
        }

        foreach (var child in operation.ChildOperations)
        {
            Strict(child);
        }
    }

    private static bool IsNullTest(IInvocationOperation call)
        => call.TargetMethod.Name is "Equals" or "ReferenceEquals" && call.Arguments.Any(a => IsNull(a.Value));

    private static bool IsNull(IOperation operation) => QueryOperators.Unwrap(operation).ConstantValue is { HasValue: true, Value: null };

    private static string Symbol(BinaryOperatorKind kind) => kind switch
    {
        BinaryOperatorKind.Equals => "==",
        BinaryOperatorKind.NotEquals => "!=",
        BinaryOperatorKind.LessThan => "<",
        BinaryOperatorKind.LessThanOrEqual => "<=",
        BinaryOperatorKind.GreaterThan => ">",
        BinaryOperatorKind.GreaterThanOrEqual => ">=",
        BinaryOperatorKind.Add => "+",
        BinaryOperatorKind.ConditionalAnd or BinaryOperatorKind.And => "&&",
        BinaryOperatorKind.ConditionalOr or BinaryOperatorKind.Or => "||",
        _ => kind.ToString(),
    };
}
