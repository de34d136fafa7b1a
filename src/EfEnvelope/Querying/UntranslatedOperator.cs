using System.Linq.Expressions;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Querying;

/// <summary>
/// Finds, in a LINQ query that could not be translated, an operation on an encrypted property that could not have been served either. Reports only what is always refused, so that a
/// query which fails for another reason is never blamed on encryption alone; NULL tests and projections are passed over.
/// </summary>
internal sealed class UntranslatedOperator : ExpressionVisitor
{
    private readonly IModel _model;
    private bool _projecting;
    private (IProperty Property, string Operation)? _found;
    private (IProperty Property, string Operation)? _projected;

    private UntranslatedOperator(IModel model) => _model = model;

    /// <param name="query">The query as it was written.</param>
    /// <param name="model">The context's model.</param>
    /// <param name="projections">Whether an operation in a projection counts where there is no other.</param>
    public static (IProperty Property, string Operation)? Find(Expression query, IModel model, bool projections)
    {
        var finder = new UntranslatedOperator(model);
        finder.Visit(query);
        return finder._found ?? (projections ? finder._projected : null);
    }

    protected override Expression VisitMethodCall(MethodCallExpression node)
    {
        if (IsPropertyAccess(node))
        {
            return node;
        }

        if (node.Method.DeclaringType == typeof(Queryable) || node.Method.DeclaringType == typeof(Enumerable) || node.Method.DeclaringType == typeof(EntityFrameworkQueryableExtensions))
        {
            VisitOperator(node);
            return node;
        }

        var operands = node.Object is null ? node.Arguments : node.Arguments.Prepend(node.Object);
        if (!(node.Method.Name is "Equals" or "ReferenceEquals" && operands.Any(IsNull)))
        {
            foreach (var operand in operands)
            {
                Operand(operand, node.Method.Name, structures: node.Method.Name is "Equals" or "Contains");
            }
        }

        return base.VisitMethodCall(node);
    }

    protected override Expression VisitBinary(BinaryExpression node)
    {
        if (!IsNull(node.Left) && !IsNull(node.Right))
        {
            var name = node.NodeType switch { ExpressionType.Equal => "==", ExpressionType.NotEqual => "!=", var other => other.ToString() };
            var compares = node.NodeType is ExpressionType.Equal or ExpressionType.NotEqual;
            Operand(node.Left, $"operator {name}", compares);
            Operand(node.Right, $"operator {name}", compares);
        }

        return base.VisitBinary(node);
    }

    protected override Expression VisitUnary(UnaryExpression node)
    {
        if (node.NodeType is not (ExpressionType.Quote or ExpressionType.Convert or ExpressionType.ConvertChecked or ExpressionType.TypeAs))
        {
            Operand(node.Operand, node.NodeType.ToString());
        }

        return base.VisitUnary(node);
    }

    protected override Expression VisitMember(MemberExpression node)
    {
        if (node.Expression is { } target && node.Member.Name is not ("HasValue" or "Value"))
        {
            Operand(target, node.Member.Name);
        }

        return base.VisitMember(node);
    }

    protected override Expression VisitConditional(ConditionalExpression node)
    {
        Operand(node.Test, "a condition");
        return base.VisitConditional(node);
    }

    protected override Expression VisitExtension(Expression node) => node;

    private void VisitOperator(MethodCallExpression node)
    {
        var name = node.Method.Name;
        var compares = name is "Distinct" or "Union" or "Intersect" or "Except" or "Contains" or "SequenceEqual";
        for (var i = 0; i < node.Arguments.Count; i++)
        {
            var argument = node.Arguments[i];
            while (argument is UnaryExpression { NodeType: ExpressionType.Quote } quote)
            {
                argument = quote.Operand;
            }

            if (argument is LambdaExpression lambda)
            {
                VisitLambda(name, i, lambda);
            }
            else
            {
                Operand(argument, name, compares);
                if (compares && name != "Contains" && ElementOf(argument.Type) is { } element && EncryptedIn(element) is { } property)
                {
                    Report(property, name);
                }

                VisitSetters(name, argument);
                Visit(argument);
            }
        }
    }

    private void VisitLambda(string name, int position, LambdaExpression lambda)
    {
        if (name is "Include" or "ThenInclude")
        {
            return;
        }

        var outer = _projecting;
        _projecting = name == "Select" || lambda.Parameters.Count > 1 || (name == "GroupBy" && position > 1);
        if (!_projecting)
        {
            IEnumerable<Expression> keys = lambda.Body is NewExpression composite ? composite.Arguments : [lambda.Body];
            foreach (var key in keys)
            {
                Operand(key, name, structures: name is not "SelectMany");
            }
        }

        Visit(lambda.Body);
        _projecting = outer;
    }

    /// <summary>What <c>ExecuteUpdate</c> sets: members of documents, or anything from an encrypted column.</summary>
    private void VisitSetters(string name, Expression argument)
    {
        if (name != "ExecuteUpdate" || argument is not NewArrayExpression setters)
        {
            return;
        }

        foreach (var setter in setters.Expressions.OfType<NewExpression>())
        {
            foreach (var part in setter.Arguments)
            {
                var expression = part;
                while (expression is UnaryExpression wrapped)
                {
                    expression = wrapped.Operand;
                }

                if (expression is LambdaExpression lambda
                    && Encrypted(lambda.Body) is { } property
                    && (part != setter.Arguments[0] || property.DeclaringType is IEntityType entityType && entityType.IsMappedToJson()))
                {
                    Report(property, name);
                }
            }
        }
    }

    private void Operand(Expression expression, string operation, bool structures = false)
    {
        if ((Encrypted(expression) ?? (structures ? EncryptedStructure(expression) : null)) is { } property)
        {
            Report(property, operation);
        }
    }

    private void Report(IProperty property, string operation)
    {
        if (_projecting)
        {
            _projected ??= (property, operation);
        }
        else
        {
            _found ??= (property, operation);
        }
    }

    private IProperty? Encrypted(Expression expression) => Strip(expression) switch
    {
        MethodCallExpression call when IsPropertyAccess(call) => call.Arguments[1] is ConstantExpression { Value: string name } ? EncryptedMembers.Find(_model, call.Arguments[0].Type, name) : null,
        MemberExpression { Expression: not null } member => EncryptedMembers.Find(_model, member.Member.DeclaringType!, member.Member.Name),
        _ => null,
    };

    private IProperty? EncryptedStructure(Expression expression)
        => Strip(expression) is MemberExpression or ParameterExpression or MethodCallExpression { Method.Name: nameof(EF.Property) }
            ? EncryptedMembers.FindInStructure(_model, expression.Type) ?? (ElementOf(expression.Type) is { } element ? EncryptedMembers.FindInStructure(_model, element) : null)
            : null;

    /// <summary>The first encrypted property of rows, complex types or documents of a CLR type.</summary>
    private IProperty? EncryptedIn(Type type) => (_model.FindEntityType(type) is { } entityType ? EncryptedMembers.First(entityType) : null) ?? EncryptedMembers.FindInStructure(_model, type);

    private static Type? ElementOf(Type type)
        => type == typeof(string) ? null
            : type.GetInterfaces().Prepend(type).FirstOrDefault(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEnumerable<>))?.GetGenericArguments()[0];

    private static Expression Strip(Expression expression)
    {
        while (true)
        {
            switch (expression)
            {
                case UnaryExpression { NodeType: ExpressionType.Convert or ExpressionType.ConvertChecked or ExpressionType.TypeAs } convert:
                    expression = convert.Operand;
                    break;
                case MemberExpression { Member.Name: "Value", Expression: { } nullable } when Nullable.GetUnderlyingType(nullable.Type) is not null:
                    expression = nullable;
                    break;
                default:
                    return expression;
            }
        }
    }

    private static bool IsPropertyAccess(MethodCallExpression call) => call.Method.DeclaringType == typeof(EF) && call.Method.Name == nameof(EF.Property);

    private static bool IsNull(Expression expression) => Strip(expression) is ConstantExpression { Value: null };
}
