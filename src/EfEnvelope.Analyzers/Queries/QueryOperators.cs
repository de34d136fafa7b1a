using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace EfEnvelope.Analyzers.Queries;

/// <summary>Which calls are operators of a query that a database evaluates.</summary>
internal static class QueryOperators
{
    private static readonly HashSet<string> Preserving = new(StringComparer.Ordinal)
    {
        "Where", "Take", "Skip", "OrderBy", "OrderByDescending", "ThenBy", "ThenByDescending", "Order", "OrderDescending", "AsNoTracking", "AsTracking", "AsNoTrackingWithIdentityResolution",
        "IgnoreQueryFilters", "IgnoreAutoIncludes", "TagWith", "TagWithCallSite", "Include", "ThenInclude", "AsSplitQuery", "AsSingleQuery", "AsQueryable", "Reverse", "Distinct", "DefaultIfEmpty",
    };

    public static bool IsDatabaseOperator(IInvocationOperation call)
        => IsSetProperty(call) || IsQueryFilter(call) || (IsQueryMethod(call.TargetMethod) && !IsInMemory(call));

    public static bool IsSetProperty(IInvocationOperation call) => call.TargetMethod is { Name: "SetProperty", ContainingType.Name: "UpdateSettersBuilder" } method && IsEf(method);

    public static bool IsQueryFilter(IInvocationOperation call) => call.TargetMethod.Name == "HasQueryFilter" && IsEf(call.TargetMethod);

    public static bool IsEnumerable(IMethodSymbol method) => method.ContainingType is { Name: "Enumerable", ContainingNamespace.Name: "Linq" };

    public static bool Preserves(IMethodSymbol method) => Preserving.Contains(method.Name);

    public static string Name(IMethodSymbol method) => method.Name.EndsWith("Async", StringComparison.Ordinal) ? method.Name.Substring(0, method.Name.Length - 5) : method.Name;

    /// <summary>The sequence that an operator reads, without the conversions that a call adds.</summary>
    public static IOperation? Source(IInvocationOperation call)
        => (call.Instance ?? call.Arguments.FirstOrDefault(a => a.Parameter?.Ordinal == 0)?.Value) is { } source ? Unwrap(source) : null;

    public static IOperation Unwrap(IOperation operation)
    {
        while (true)
        {
            switch (operation)
            {
                case IConversionOperation conversion:
                    operation = conversion.Operand;
                    break;
                case IParenthesizedOperation parenthesized:
                    operation = parenthesized.Operand;
                    break;
                case ITranslatedQueryOperation query:
                    operation = query.Operation;
                    break;
                case IAwaitOperation awaited:
                    operation = awaited.Operation;
                    break;
                default:
                    return operation;
            }
        }
    }

    public static IAnonymousFunctionOperation? Lambda(IOperation operation)
        => Unwrap(operation) switch
        {
            IDelegateCreationOperation { Target: IAnonymousFunctionOperation target } => target,
            IAnonymousFunctionOperation function => function,
            _ => null,
        };

    public static IOperation? Body(IAnonymousFunctionOperation lambda)
        => lambda.Body.Operations.OfType<IReturnOperation>().FirstOrDefault()?.ReturnedValue;

    private static bool IsQueryMethod(IMethodSymbol method)
        => method.ContainingType is { Name: "Queryable", ContainingNamespace.Name: "Linq" } || (IsEf(method) && method.ContainingType.Name == "EntityFrameworkQueryableExtensions");

    private static bool IsEf(IMethodSymbol method) => method.ContainingNamespace.ToDisplayString().StartsWith("Microsoft.EntityFrameworkCore", StringComparison.Ordinal);

    /// <summary><c>list.AsQueryable()</c> stays in memory.</summary>
    private static bool IsInMemory(IInvocationOperation call)
    {
        IOperation? current = call;
        while (current is IInvocationOperation { TargetMethod: var method } invocation && (IsQueryMethod(method) || method.Name == "AsQueryable"))
        {
            current = Source(invocation);
            if (method.Name == "AsQueryable" && current?.Type is { } source && source.Name != "IQueryable" && !source.AllInterfaces.Any(i => i.Name == "IQueryable"))
            {
                return !IsInExpression(invocation);
            }
        }

        return false;
    }

    private static bool IsInExpression(IOperation operation)
    {
        for (var current = operation.Parent; current is not null; current = current.Parent)
        {
            if (current is IConversionOperation { Type.Name: "Expression" } or IAnonymousFunctionOperation)
            {
                return true;
            }
        }

        return false;
    }
}
