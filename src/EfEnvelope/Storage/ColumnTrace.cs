using System.Collections.Immutable;
using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Storage;

/// <summary>A select of a query, and those around it, whose columns a lateral join sees.</summary>
internal sealed record QueryScope(SelectExpression Select, string Path, QueryScope? Outer)
{
    /// <summary>The two sides of a set operation at a path: no alias is spelt like their last part.</summary>
    public static IEnumerable<QueryScope> SidesOf(SetOperationBase set, string path, QueryScope outer)
        => [new QueryScope(set.Source1, path + "/<1>", outer), new QueryScope(set.Source2, path + "/<2>", outer)];

    /// <summary>Whether one row of the query may hold a row of both: not where they stand on different sides of a set operation.</summary>
    public static bool MayMeet(string path, string other)
    {
        var (parts, others) = (path.Split('/'), other.Split('/'));
        var common = parts.Zip(others).TakeWhile(p => p.First == p.Second).Count();
        return common == Math.Min(parts.Length, others.Length) || parts[common] is not ("<1>" or "<2>") || others[common] is not ("<1>" or "<2>");
    }
}

/// <summary>A place that a column of a projection comes from: the same path means the same row of the same table.</summary>
/// <param name="Path">The row.</param>
/// <param name="Table">The table, view, function or query that the model maps.</param>
/// <param name="ColumnName">The column.</param>
/// <param name="IsPart">Whether it is a part of what the column holds: a member or an element of a document.</param>
internal readonly record struct ColumnOrigin(string Path, ITableBase Table, string ColumnName, bool IsPart = false)
{
    /// <summary>Whether the column is the property's, and the whole of it.</summary>
    public bool Maps(IProperty property) => !IsPart && Table.FindColumn(ColumnName) is { } column && column.PropertyMappings.Any(m => m.Property == property);
}

/// <summary>Where a column of a projection comes from, through subqueries: one place, or one for each side of a set operation.</summary>
/// <param name="Origins">The places.</param>
/// <param name="MayBeNull">Whether some rows hold NULL in their stead: a side of a set operation, or of a condition.</param>
/// <param name="MayBeComputed">Whether some rows hold something else, of which nothing is known.</param>
internal sealed record ColumnTrace(ImmutableArray<ColumnOrigin> Origins, bool MayBeNull, bool MayBeComputed)
{
    private static readonly ColumnTrace Null = new([], MayBeNull: true, MayBeComputed: false);
    private static readonly ColumnTrace Computed = new([], MayBeNull: false, MayBeComputed: true);

    /// <summary>The places, where they are all that the column holds; else none.</summary>
    public ImmutableArray<ColumnOrigin> Known => MayBeComputed ? [] : Origins;

    public static ColumnTrace Of(SelectExpression select, SqlExpression expression) => Of(new QueryScope(select, "", null), expression);

    public static ColumnTrace Of(QueryScope scope, SqlExpression expression) => expression switch
    {
        ColumnExpression column => OfColumn(scope, column),
        JsonScalarExpression json => Of(scope, json.Json).Part(json.Path.Count > 0),
        CaseExpression choice => OfChoice(scope, choice),
        _ => IsNull(expression) ? Null : Computed,
    };

    /// <summary>NULL, also cast: PostgreSQL's provider gives a type to the NULL of a set operation that neither side has a value of, as in a hierarchy with a table for each of three types.</summary>
    public static bool IsNull(SqlExpression? expression) => expression switch
    {
        SqlConstantExpression constant => constant.Value is null,
        SqlUnaryExpression { OperatorType: ExpressionType.Convert } cast => IsNull(cast.Operand),
        _ => false,
    };

    private static ColumnTrace OfColumn(QueryScope scope, ColumnExpression column)
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
                TableExpression mapped => At(here, mapped.Table, column),
                FromSqlExpression { Table: { } mapped } => At(here, mapped, column),
                TableValuedFunctionExpression { StoreFunction: { } mapped } => At(here, mapped, column),

                // The elements of a document: they are of the row that the document stands in.
                TableValuedFunctionExpression { Arguments: [var document, ..] } => Of(scope, document).Part(true),
                SelectExpression inner => OfProjection(new QueryScope(inner, here, scope), column.Name),
                SetOperationBase set => QueryScope.SidesOf(set, here, scope).Select(side => OfProjection(side, column.Name)).Aggregate(Or),
                _ => Computed,
            };
        }

        return scope.Outer is { } outer ? OfColumn(outer, column) : Computed;
    }

    /// <summary>A CASE that chooses between one column and NULL: what it returns is of that column's row. Between two columns it does not say whose.</summary>
    private static ColumnTrace OfChoice(QueryScope scope, CaseExpression choice)
    {
        var results = choice.WhenClauses.Select(w => w.Result).Append(choice.ElseResult).Where(r => r is not null && !IsNull(r)).Distinct().ToList();
        return results is [{ } only] ? Of(scope, only) with { MayBeNull = true } : results.Count == 0 ? Null : Computed;
    }

    private static ColumnTrace OfProjection(QueryScope scope, string alias)
        => scope.Select.Projection.FirstOrDefault(p => p.Alias == alias) is { } projection ? Of(scope, projection.Expression) : Computed;

    private static ColumnTrace At(string path, ITableBase table, ColumnExpression column) => new([new ColumnOrigin(path, table, column.Name)], MayBeNull: false, MayBeComputed: false);

    private static ColumnTrace Or(ColumnTrace one, ColumnTrace other) => new([.. one.Origins, .. other.Origins], one.MayBeNull || other.MayBeNull, one.MayBeComputed || other.MayBeComputed);

    private ColumnTrace Part(bool isPart) => isPart ? this with { Origins = [.. Origins.Select(o => o with { IsPart = true })] } : this;
}
