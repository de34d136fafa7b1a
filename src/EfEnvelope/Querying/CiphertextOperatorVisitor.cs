using System.Linq.Expressions;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Querying;

/// <summary>
/// Allows on an encrypted column what is right without its key: projecting it, and IS [NOT] NULL. Everything else - comparing, ordering, grouping, functions, set operations that compare,
/// provider-specific operators - is refused by name (G25). Unknown nodes are refused too: a wrong result is worse than an error.
/// </summary>
internal sealed class CiphertextOperatorVisitor(IModel model) : ExpressionVisitor
{
    protected override Expression VisitExtension(Expression node)
    {
        switch (node)
        {
            case ShapedQueryExpression shaped:
                Visit(shaped.QueryExpression);
                return node;
            case UpdateExpression update:
                BulkUpdatePlanner.Check(update);
                foreach (var setter in update.ColumnValueSetters)
                {
                    RefuseSetter(setter);
                }

                Visit(update.SelectExpression);
                return node;
            case DeleteExpression delete:
                Visit(delete.SelectExpression);
                return node;
            case SelectExpression select:
                VisitSelect(select);
                return base.VisitExtension(node);
            case SetOperationBase set:
                RefuseComparingSet(set);
                return base.VisitExtension(node);
            case SqlBinaryExpression binary:
                RefuseBinary(binary);
                return base.VisitExtension(node);
            case SqlUnaryExpression { OperatorType: ExpressionType.Equal or ExpressionType.NotEqual or ExpressionType.Convert } unary:
                if (unary.OperatorType == ExpressionType.Convert)
                {
                    Refuse(unary.Operand, "a conversion");
                }

                return base.VisitExtension(node);
            case OrderingExpression ordering:
                Refuse(ordering.Expression, "ORDER BY");
                return base.VisitExtension(node);
            case CaseExpression or ScalarSubqueryExpression or ProjectionExpression or ColumnExpression or SqlConstantExpression or SqlParameterExpression or SqlFragmentExpression or ExistsExpression:
                RefuseMixedCase(node as CaseExpression);
                return base.VisitExtension(node);
            case InExpression { Subquery: { } subquery } contained:
                // The subquery is no scalar: what it returns is compared all the same.
                Refuse(contained.Item, Describe(contained));
                foreach (var projection in subquery.Projection)
                {
                    Refuse(projection.Expression, Describe(contained));
                }

                return base.VisitExtension(node);
            case SqlExpression sql:
                foreach (var child in Children(sql))
                {
                    Refuse(child, Describe(sql));
                }

                return base.VisitExtension(node);
            default:
                return base.VisitExtension(node);
        }
    }

    private void VisitSelect(SelectExpression select)
    {
        foreach (var key in select.GroupBy)
        {
            Refuse(key, "GROUP BY");
        }

        if (select.IsDistinct)
        {
            foreach (var projection in select.Projection)
            {
                Refuse(projection.Expression, "DISTINCT");
            }
        }
    }

    private void RefuseComparingSet(SetOperationBase set)
    {
        if (set is UnionExpression { IsDistinct: false })
        {
            // Concat keeps both sides as they are: sound where each column holds the same kind of envelopes on both sides.
            for (var i = 0; i < Math.Min(set.Source1.Projection.Count, set.Source2.Projection.Count); i++)
            {
                var (left, right) = (set.Source1.Projection[i].Expression, set.Source2.Projection[i].Expression);
                if (!string.Equals(Token(left), Token(right), StringComparison.Ordinal))
                {
                    Refuse(left, "UNION ALL with another column");
                    Refuse(right, "UNION ALL with another column");
                }
            }

            return;
        }

        foreach (var projection in set.Source1.Projection.Concat(set.Source2.Projection))
        {
            Refuse(projection.Expression, set switch { UnionExpression => "UNION", IntersectExpression => "INTERSECT", _ => "EXCEPT" });
        }
    }

    private void RefuseBinary(SqlBinaryExpression binary)
    {
        if (binary.OperatorType is ExpressionType.AndAlso or ExpressionType.OrElse
            || binary.Left is SqlConstantExpression { Value: null }
            || binary.Right is SqlConstantExpression { Value: null })
        {
            return;
        }

        var name = binary.OperatorType switch
        {
            ExpressionType.Equal => "==",
            ExpressionType.NotEqual => "!=",
            ExpressionType.GreaterThan => ">",
            ExpressionType.GreaterThanOrEqual => ">=",
            ExpressionType.LessThan => "<",
            ExpressionType.LessThanOrEqual => "<=",
            ExpressionType.Add => "+",
            var other => other.ToString(),
        };
        Refuse(binary.Left, $"operator {name}");
        Refuse(binary.Right, $"operator {name}");
    }

    /// <summary>A CASE may choose between envelopes of one column and NULL; mixed with plain values it would be read as an envelope.</summary>
    private void RefuseMixedCase(CaseExpression? expression)
    {
        if (expression is null)
        {
            return;
        }

        Refuse(expression.Operand, "CASE");
        var results = expression.WhenClauses.Select(w => w.Result).Append(expression.ElseResult).OfType<SqlExpression>().Where(r => r is not SqlConstantExpression { Value: null }).ToList();
        var tokens = results.Select(r => IsValue(r) ? null : Token(r)).Distinct(StringComparer.Ordinal).ToList();
        if (tokens.Count > 1)
        {
            foreach (var result in results)
            {
                Refuse(result, "CASE with another value");
            }
        }
        else if (results.Any(r => IsValue(r) && Token(r) is not null))
        {
            Refuse(results.First(r => Token(r) is not null), "CASE with a constant or parameter");
        }
    }

    private void RefuseSetter(ColumnValueSetter setter)
    {
        if (Token(setter.Column) is null && setter.Value is not (SqlConstantExpression or SqlParameterExpression))
        {
            Refuse(setter.Value, "ExecuteUpdate into another column");
            Visit(setter.Value);
        }
    }

    private static bool IsValue(SqlExpression expression) => expression is SqlParameterExpression or SqlConstantExpression;

    private static string? Token(SqlExpression? expression) => EnvelopeValueConverters.FindToken(expression?.TypeMapping?.Converter);

    private static string Describe(SqlExpression expression) => expression switch
    {
        LikeExpression => "LIKE (StartsWith, Contains, EndsWith)",
        InExpression => "IN (Contains)",
        SqlFunctionExpression function => $"function {function.Name}",
        AtTimeZoneExpression => "AT TIME ZONE",
        CollateExpression => "COLLATE",
        RowNumberExpression => "ROW_NUMBER",
        JsonScalarExpression => "JSON access",
        _ => expression.GetType().Name.Replace("Expression", "", StringComparison.Ordinal),
    };

    private static List<SqlExpression> Children(SqlExpression expression)
    {
        var collector = new ChildCollector(expression);
        collector.Visit(expression);
        return collector.Found;
    }

    private void Refuse(SqlExpression? expression, string operation)
    {
        if (expression is null or SqlConstantExpression { Value: null } || Token(expression) is not { } token || expression is JsonScalarExpression { Path.Count: 0 })
        {
            return;
        }

        // A value on its own carries the other side's mapping; the other side is refused and named.
        var columnId = ColumnDeclaration.Of(token).ColumnId;
        var property = Find(columnId);
        var display = property is null ? columnId : $"{property.DeclaringType.DisplayName()}.{property.Name}";
        throw new EnvelopeQueryException(
            $"{display} is encrypted: {operation} cannot be evaluated in the database, where it would compare ciphertext. Filter by other columns and evaluate this part on the client (AsEnumerable() after the filter).")
        {
            Entity = property?.DeclaringType.DisplayName(),
            Property = property?.Name,
            ColumnId = columnId,
        };
    }

    private IProperty? Find(string columnId)
        => model.GetEntityTypes().SelectMany(e => e.GetFlattenedDeclaredProperties()).FirstOrDefault(p => p.FindEnvelope()?.ColumnId == columnId);

    private sealed class ChildCollector(Expression root) : ExpressionVisitor
    {
        public List<SqlExpression> Found { get; } = [];

        protected override Expression VisitExtension(Expression node)
        {
            if (node == root)
            {
                return base.VisitExtension(node);
            }

            if (node is SqlExpression sql)
            {
                Found.Add(sql);
            }

            return node;
        }
    }
}
