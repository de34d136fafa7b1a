using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Storage;

/// <summary>
/// Which table instances of a query hold parts of one row, or of its owner's: those whose keys its joins equate (a type's tables, a split entity's, an owner and what it owns), also by a predicate inside of a lateral join, and through subqueries.
/// What merely stands in the same result - another row's tenant - is not linked.
/// </summary>
internal sealed class RowLinks
{
    private readonly List<(ColumnOrigin One, ColumnOrigin Other)> _equalities = [];

    /// <summary>The paths that outer joins may leave without a row.</summary>
    private readonly HashSet<string> _optional = new(StringComparer.Ordinal);

    private RowLinks()
    {
    }

    public static RowLinks Of(SelectExpression select)
    {
        var links = new RowLinks();
        links.Collect(new QueryScope(select, "", null));
        return links;
    }

    /// <summary>The paths of the instances that hold a property of the cell's row, or of its owner's, nearest first; empty where the query does not say so.</summary>
    /// <param name="cell">Where the cell comes from.</param>
    /// <param name="type">The type of the row that it stands in.</param>
    /// <param name="property">A property of that type, of its root, or of its owner's root.</param>
    public IReadOnlyList<string> Find(ColumnOrigin cell, IEntityType type, IProperty property)
    {
        var found = new List<string>();
        var queue = new Queue<(string Path, ITableBase Table, IEntityType Type)>([(cell.Path, cell.Table, type)]);
        var seen = new HashSet<(string, IEntityType)> { (cell.Path, type) };
        while (queue.TryDequeue(out var at))
        {
            if (Holds(at.Table, property))
            {
                found.Add(at.Path);
            }

            foreach (var next in Next(at.Path, at.Table, at.Type))
            {
                if (seen.Add((next.Path, next.Type)))
                {
                    queue.Enqueue(next);
                }
            }
        }

        // The same row may be joined more than once, also where only some rows find themselves; its own parts stand nearest, and are never missing.
        return [.. found.OrderBy(path => MayMiss(path, cell.Path)).ThenByDescending(path => Common(path, cell.Path)).ThenBy(path => path.Count(c => c == '/'))];
    }

    public static bool Maps(ColumnOrigin origin, IProperty property) => !origin.IsPart && origin.Table.FindColumn(origin.ColumnName) is { } column && column.PropertyMappings.Any(m => m.Property == property);

    private static bool Holds(ITableBase table, IProperty property) => table.Columns.Any(c => c.PropertyMappings.Any(m => m.Property == property));

    /// <summary>Whether an outer join that the cell's own row does not stand behind may leave the path without a row.</summary>
    private bool MayMiss(string path, string cell)
        => _optional.Any(optional => IsWithin(path, optional) && !IsWithin(cell, optional));

    private static bool IsWithin(string path, string outer) => path.StartsWith(outer, StringComparison.Ordinal) && (path.Length == outer.Length || path[outer.Length] == '/');

    private void Collect(QueryScope scope)
    {
        foreach (var table in scope.Select.Tables)
        {
            if (table is LeftJoinExpression or OuterApplyExpression)
            {
                _optional.Add($"{scope.Path}/{((JoinExpressionBase)table).Table.Alias}");
            }
            else if (table is RightJoinExpression)
            {
                _optional.UnionWith(scope.Select.Tables.TakeWhile(t => t != table).Select(t => $"{scope.Path}/{(t is JoinExpressionBase joined ? joined.Table : t).Alias}"));
            }

            if (table is PredicateJoinExpressionBase predicated)
            {
                Equate(predicated.JoinPredicate, scope);
            }

            var source = table is JoinExpressionBase join ? join.Table : table;
            var here = $"{scope.Path}/{source.Alias}";
            switch (source)
            {
                case SelectExpression inner:
                    Collect(new QueryScope(inner, here, scope));
                    break;
                case SetOperationBase set:
                    Collect(new QueryScope(set.Source1, here, scope));
                    Collect(new QueryScope(set.Source2, here, scope));
                    break;
            }
        }

        if (scope.Select.Predicate is { } predicate)
        {
            Equate(predicate, scope);
        }
    }

    private void Equate(SqlExpression predicate, QueryScope scope)
    {
        switch (predicate)
        {
            case SqlBinaryExpression { OperatorType: ExpressionType.AndAlso } both:
                Equate(both.Left, scope);
                Equate(both.Right, scope);
                break;
            case SqlBinaryExpression { OperatorType: ExpressionType.Equal, Left: ColumnExpression left, Right: ColumnExpression right }
                when ColumnOrigin.Trace(scope, left) is { } one && ColumnOrigin.Trace(scope, right) is { } other && one.Path != other.Path:
                _equalities.Add((one, other));
                _equalities.Add((other, one));
                break;
        }
    }

    /// <summary>Other parts of a row, and its owner's row.</summary>
    private IEnumerable<(string Path, ITableBase Table, IEntityType Type)> Next(string path, ITableBase table, IEntityType type)
    {
        var ownership = type.FindOwnership();
        if (ownership is not null && table.EntityTypeMappings.Any(m => m.TypeBase == ownership.PrincipalEntityType))
        {
            yield return (path, table, ownership.PrincipalEntityType);
        }

        foreach (var links in _equalities.Where(e => e.One.Path == path).GroupBy(e => e.Other.Path))
        {
            if (type.FindPrimaryKey() is { } key && Equates(links, key.Properties, key.Properties))
            {
                yield return (links.Key, links.First().Other.Table, type);
            }

            if (ownership is not null && Equates(links, ownership.Properties, ownership.PrincipalKey.Properties))
            {
                yield return (links.Key, links.First().Other.Table, ownership.PrincipalEntityType);
            }
        }
    }

    private static bool Equates(IEnumerable<(ColumnOrigin One, ColumnOrigin Other)> links, IReadOnlyList<IProperty> these, IReadOnlyList<IProperty> those)
        => Enumerable.Range(0, these.Count).All(i => links.Any(l => Maps(l.One, these[i]) && Maps(l.Other, those[i])));

    private static int Common(string one, string other)
    {
        var (parts, others) = (one.Split('/'), other.Split('/'));
        return parts.Zip(others).TakeWhile(p => p.First == p.Second).Count();
    }
}
