using System.Linq.Expressions;
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

/// <summary>Where a column of a projection comes from: the same path means the same row of the same table.</summary>
internal readonly record struct ColumnOrigin(string Path, Microsoft.EntityFrameworkCore.Metadata.ITableBase Table, string ColumnName)
{
    /// <summary>Traces a column through subqueries to its table; null where it is computed.</summary>
    public static ColumnOrigin? Trace(SelectExpression select, SqlExpression expression, string path = "")
    {
        if (expression is not ColumnExpression column)
        {
            return null;
        }

        foreach (var source in select.Tables)
        {
            var table = source is JoinExpressionBase join ? join.Table : source;
            if (table.Alias != column.TableAlias)
            {
                continue;
            }

            var here = $"{path}/{table.Alias}";
            return table switch
            {
                TableExpression mapped => new ColumnOrigin(here, mapped.Table, column.Name),
                FromSqlExpression { Table: { } mapped } => new ColumnOrigin(here, mapped, column.Name),
                SelectExpression inner => TraceProjection(inner, column.Name, here),
                SetOperationBase set => TraceSet(set, column.Name, here),
                _ => null,
            };
        }

        return null;
    }

    /// <summary>
    /// Both sides return the same columns; one of the other side only (a property of another derived type in a table of its own) is NULL on this one. Where each side is of one table, a row of the set is
    /// a row of one table.
    /// </summary>
    private static ColumnOrigin? TraceSet(SetOperationBase set, string alias, string path)
    {
        var origin = TraceProjection(set.Source1, alias, path) ?? TraceProjection(set.Source2, alias, path);
        return origin is { } found && IsOfOneTable(set) ? found with { Path = path } : origin;
    }

    private static bool IsOfOneTable(TableExpressionBase source) => source switch
    {
        SetOperationBase set => IsOfOneTable(set.Source1) && IsOfOneTable(set.Source2),
        SelectExpression select => select.Tables is [var only] && IsOfOneTable(only),
        TableExpression or FromSqlExpression => true,
        _ => false,
    };

    private static ColumnOrigin? TraceProjection(SelectExpression select, string alias, string path)
    {
        foreach (var projection in select.Projection)
        {
            if (projection.Alias == alias)
            {
                return Trace(select, projection.Expression, path);
            }
        }

        return null;
    }
}
