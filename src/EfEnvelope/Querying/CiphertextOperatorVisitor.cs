using System.Linq.Expressions;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Querying;

/// <summary>
/// Allows on an encrypted column what is right without its key: projecting it, and IS [NOT] NULL. Everything else - comparing, ordering, grouping, functions, set operations that compare,
/// provider-specific operators - is refused by name (G25). Unknown nodes are refused too: a wrong result is worse than an error.
/// </summary>
internal sealed class CiphertextOperatorVisitor(IModel model) : ExpressionVisitor
{
    /// <summary>The select that is looked at, and those around it, whose columns its subqueries and lateral functions see.</summary>
    private QueryScope? _scope;

    protected override Expression VisitExtension(Expression node)
    {
        switch (node)
        {
            case ShapedQueryExpression shaped:
                Visit(shaped.QueryExpression);

                // A split query's collections stand here alone, each with a select of its own.
                Visit(shaped.ShaperExpression);
                return node;
            case UpdateExpression update:
                BulkUpdatePlanner.Check(update);
                Within(update.SelectExpression, () =>
                {
                    foreach (var setter in update.ColumnValueSetters)
                    {
                        RefuseSetter(setter);
                    }
                });
                Visit(update.SelectExpression);
                return node;
            case DeleteExpression delete:
                Visit(delete.SelectExpression);
                return node;
            case SelectExpression select:
                Within(select, () =>
                {
                    VisitSelect(select);
                    base.VisitExtension(node);
                });
                return node;
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
            case CaseExpression or ScalarSubqueryExpression or ProjectionExpression or ColumnExpression or SqlConstantExpression or SqlParameterExpression or SqlFragmentExpression or ExistsExpression or JsonScalarExpression:
                RefuseMixedCase(node as CaseExpression);
                RefuseIndexes(node as JsonScalarExpression);
                return base.VisitExtension(node);
            case TableValuedFunctionExpression function:
                foreach (var argument in Children(function))
                {
                    // Those that the database itself has list the elements of a document.
                    Refuse(argument, $"function {function.Name}", documents: function.StoreFunction is not null);
                }

                return base.VisitExtension(node);
            case InExpression { Subquery: { } subquery } contained:
                // The subquery is no scalar: what it returns is compared all the same.
                Refuse(contained.Item, Describe(contained));
                RefuseProjection(subquery, Describe(contained));
                return base.VisitExtension(node);
            case SqlExpression sql:
                foreach (var child in Children(sql))
                {
                    // Functions may look into the plain parts of a document (its length, a member's new value); nothing else compares less than the whole.
                    Refuse(child, Describe(sql), documents: sql is not SqlFunctionExpression);
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
            RefuseProjection(select, "DISTINCT");
        }
    }

    private void RefuseProjection(SelectExpression select, string operation)
    {
        Within(select, () =>
        {
            foreach (var projection in select.Projection)
            {
                Refuse(projection.Expression, operation);
            }
        });
    }

    private void Within(SelectExpression select, Action look)
    {
        var outer = _scope;
        _scope = new QueryScope(select, "", outer);
        look();
        _scope = outer;
    }

    private void RefuseComparingSet(SetOperationBase set)
    {
        if (set is UnionExpression { IsDistinct: false })
        {
            // Concat keeps both sides as they are: sound where each column holds the same kind of envelopes on both sides.
            for (var i = 0; i < Math.Min(set.Source1.Projection.Count, set.Source2.Projection.Count); i++)
            {
                var (left, right) = (set.Source1.Projection[i].Expression, set.Source2.Projection[i].Expression);
                if (!string.Equals(Token(left), Token(right), StringComparison.Ordinal) || AreUnlikeDocuments(set, i))
                {
                    Within(set.Source1, () => Refuse(left, "UNION ALL with another column"));
                    Within(set.Source2, () => Refuse(right, "UNION ALL with another column"));
                }
            }

            return;
        }

        var name = set switch { UnionExpression => "UNION", IntersectExpression => "INTERSECT", _ => "EXCEPT" };
        RefuseProjection(set.Source1, name);
        RefuseProjection(set.Source2, name);
    }

    private bool AreUnlikeDocuments(SetOperationBase set, int ordinal)
    {
        var (left, right) = (set.Source1.Projection[ordinal].Expression, set.Source2.Projection[ordinal].Expression);
        return !ColumnTrace.IsNull(left) && !ColumnTrace.IsNull(right) && Member(set.Source1, left) != Member(set.Source2, right);

        IProperty? Member(SelectExpression side, SqlExpression expression)
        {
            IProperty? member = null;
            Within(side, () => member = DocumentMember(expression));
            return member;
        }
    }

    private void RefuseBinary(SqlBinaryExpression binary)
    {
        if (binary.OperatorType is ExpressionType.AndAlso or ExpressionType.OrElse
            || ColumnTrace.IsNull(binary.Left)
            || ColumnTrace.IsNull(binary.Right))
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
        var results = expression.WhenClauses.Select(w => w.Result).Append(expression.ElseResult).OfType<SqlExpression>().Where(r => !ColumnTrace.IsNull(r)).ToList();
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

    private void RefuseIndexes(JsonScalarExpression? expression)
    {
        foreach (var segment in expression?.Path ?? [])
        {
            Refuse(segment.ArrayIndex, "the index of an array");
        }
    }

    private void RefuseSetter(ColumnValueSetter setter)
    {
        // A provider may copy a document, or a part of one, as it is, armour and all.
        new CopiedParts(this, setter.Column).Visit(setter.Value);
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
        SqlFunctionExpression { Name: "COALESCE" } => "function COALESCE (?? or the default of FirstOrDefault(): let it be null, as in Select(x => (int?)x.Amount).FirstOrDefault())",
        SqlFunctionExpression function => $"function {function.Name}",
        AtTimeZoneExpression => "AT TIME ZONE",
        CollateExpression => "COLLATE",
        RowNumberExpression => "ROW_NUMBER",
        JsonScalarExpression => "JSON access",
        _ => expression.GetType().Name.Replace("Expression", "", StringComparison.Ordinal),
    };

    private static List<SqlExpression> Children(Expression expression)
    {
        var collector = new ChildCollector(expression);
        collector.Visit(expression);
        return collector.Found;
    }

    private void Refuse(SqlExpression? expression, string operation, bool documents = true)
    {
        if (expression is null || ColumnTrace.IsNull(expression))
        {
            return;
        }

        if (Token(expression) is { } token && expression is not JsonScalarExpression { Path.Count: 0 })
        {
            // A value on its own carries the other side's mapping; the other side is refused and named.
            var columnId = ColumnDeclaration.Of(token).ColumnId;
            throw EncryptedMembers.Find(model, columnId) is { } property
                ? QueryRefusal.Operation(property, operation)
                : new EnvelopeQueryException($"Column '{columnId}' is encrypted: {operation} cannot be evaluated in the database. Filter by other columns and evaluate this part on the client.") { ColumnId = columnId };
        }

        if (documents && DocumentMember(expression) is { } member)
        {
            throw QueryRefusal.Operation(member, $"{operation} of its whole document");
        }
    }

    /// <summary>The first encrypted member of a whole JSON document, which holds armour that is never the same twice; null for anything else, such as a plain member.</summary>
    private IProperty? DocumentMember(SqlExpression expression)
    {
        var column = expression switch
        {
            ColumnExpression plain => plain,
            JsonScalarExpression { TypeMapping: JsonTypeMapping, Json: ColumnExpression document } => document,
            _ => null,
        };
        if (column is null)
        {
            return null;
        }

        // What a subquery, or a function over the elements, took out of a document is plain but where it is a part with members of its own.
        return Origins(column).Where(o => !o.IsPart || expression.TypeMapping is JsonTypeMapping).Select(JsonDocuments.FindMember).FirstOrDefault(member => member is not null);
    }

    /// <summary>Whatever the column may hold, also where some rows hold something else.</summary>
    private IEnumerable<ColumnOrigin> Origins(ColumnExpression column) => _scope is null ? [] : ColumnTrace.Of(_scope, column).Origins;

    /// <summary>Refuses documents with encrypted members, and paths to such members and parts, in a value that is set; not the document that a part of is set.</summary>
    private sealed class CopiedParts(CiphertextOperatorVisitor visitor, ColumnExpression target) : ExpressionVisitor
    {
        protected override Expression VisitExtension(Expression node)
        {
            if (node is SelectExpression select)
            {
                visitor.Within(select, () => base.VisitExtension(node));
                return node;
            }

            if (node is JsonScalarExpression { Path.Count: > 0, Json: ColumnExpression document } part
                && visitor.Origins(document).Select(o => o.IsPart ? JsonDocuments.FindMemberByName(o, part.Path) : JsonDocuments.FindMember(o, part.Path)).FirstOrDefault(m => m is not null) is { } member)
            {
                throw QueryRefusal.Operation(member, "ExecuteUpdate into another member or column");
            }

            if (node is SqlFunctionExpression { TypeMapping: JsonTypeMapping, Arguments: { } arguments })
            {
                foreach (var whole in arguments.OfType<ColumnExpression>().Where(c => c.Name != target.Name || c.TableAlias != target.TableAlias))
                {
                    visitor.Refuse(whole, "ExecuteUpdate into another document");
                }
            }

            return base.VisitExtension(node);
        }
    }

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
