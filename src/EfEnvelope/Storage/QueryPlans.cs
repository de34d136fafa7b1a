using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Storage;

/// <summary>What EfEnvelope knows of a compiled query; computed once per SQL text and told of every command that is made from it.</summary>
internal interface IQueryPlan
{
    /// <summary>A command of the query is put together on this thread, with these parameter values.</summary>
    void OnCommandCreating(CommandFrame frame, IReadOnlyDictionary<string, object?> parameterValues);
}

/// <summary>Makes the plan of a final SQL tree; null where there is nothing encrypted in it.</summary>
internal interface IQueryPlanner
{
    /// <summary>The tree with what the plan needs returned behind what EF asked for.</summary>
    Expression Complete(Expression sqlTree) => sqlTree;

    IQueryPlan? Plan(Expression sqlTree);
}

/// <summary>A select of a query, and those around it, whose columns a lateral join sees.</summary>
internal sealed record QueryScope(SelectExpression Select, string Path, QueryScope? Outer);

/// <summary>Where a column of a projection comes from: the same path means the same row of the same table.</summary>
/// <param name="Path">The row.</param>
/// <param name="Table">The table, view, function or query that the model maps.</param>
/// <param name="ColumnName">The column.</param>
/// <param name="IsPart">Whether it is a part of what the column holds: a member or an element of a document.</param>
internal readonly record struct ColumnOrigin(string Path, ITableBase Table, string ColumnName, bool IsPart = false)
{
    /// <summary>Traces a column, or a path into a document, through subqueries to its table; null where it is computed.</summary>
    public static ColumnOrigin? Trace(SelectExpression select, SqlExpression expression) => Trace(new QueryScope(select, "", null), expression);

    public static ColumnOrigin? Trace(QueryScope scope, SqlExpression expression) => expression switch
    {
        ColumnExpression column => TraceColumn(scope, column),
        JsonScalarExpression json => Part(Trace(scope, json.Json), json.Path.Count > 0),
        _ => null,
    };

    private static ColumnOrigin? TraceColumn(QueryScope scope, ColumnExpression column)
    {
        foreach (var source in scope.Select.Tables)
        {
            var table = source is JoinExpressionBase join ? join.Table : source;
            if (table.Alias != column.TableAlias)
            {
                continue;
            }

            var here = $"{scope.Path}/{table.Alias}";
            return table switch
            {
                TableExpression mapped => new ColumnOrigin(here, mapped.Table, column.Name),
                FromSqlExpression { Table: { } mapped } => new ColumnOrigin(here, mapped, column.Name),
                TableValuedFunctionExpression { StoreFunction: { } mapped } => new ColumnOrigin(here, mapped, column.Name),

                // The elements of a document: they are of the row that the document stands in.
                TableValuedFunctionExpression { Arguments: [var document, ..] } => Part(Trace(scope, document), true),
                SelectExpression inner => TraceProjection(inner, column.Name, here, scope),
                SetOperationBase set => TraceSet(set, column.Name, here, scope),
                _ => null,
            };
        }

        return scope.Outer is { } outer ? TraceColumn(outer, column) : null;
    }

    private static ColumnOrigin? Part(ColumnOrigin? whole, bool isPart) => whole is { } origin ? origin with { IsPart = origin.IsPart || isPart } : null;

    /// <summary>
    /// Both sides return the same columns; one of the other side only (a property of another derived type in a table of its own) is NULL on this one. Where each side is of one table, a row of the set is
    /// a row of one table.
    /// </summary>
    private static ColumnOrigin? TraceSet(SetOperationBase set, string alias, string path, QueryScope outer)
    {
        var origin = TraceProjection(set.Source1, alias, path, outer) ?? TraceProjection(set.Source2, alias, path, outer);
        return origin is { } found && IsOfOneTable(set) ? found with { Path = path } : origin;
    }

    private static bool IsOfOneTable(TableExpressionBase source) => source switch
    {
        SetOperationBase set => IsOfOneTable(set.Source1) && IsOfOneTable(set.Source2),
        SelectExpression select => select.Tables is [var only] && IsOfOneTable(only),
        TableExpression or FromSqlExpression => true,
        _ => false,
    };

    private static ColumnOrigin? TraceProjection(SelectExpression select, string alias, string path, QueryScope outer)
    {
        foreach (var projection in select.Projection)
        {
            if (projection.Alias == alias)
            {
                return Trace(new QueryScope(select, path, outer), projection.Expression);
            }
        }

        return null;
    }
}
