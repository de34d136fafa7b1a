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
    private readonly List<Equality> _equalities = [];

    /// <summary>The paths that have no row in some rows of the result: behind outer joins, and the sides of set operations.</summary>
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
        // The same row may be joined more than once, also where only some rows find themselves; its own parts stand nearest, and are never missing.
        return [.. Walk(cell, type, property, [cell.Path]).OrderBy(path => MayMiss(path, cell.Path)).ThenByDescending(path => Common(path, cell.Path)).ThenBy(path => path.Count(c => c == '/'))];
    }

    /// <summary>Whether an instance that has a row in all of the result always holds a property of that very row, or of its owner's.</summary>
    public bool IsOfRow(string path, ColumnOrigin row, IEntityType type, IProperty property) => Walk(row, type, property, [row.Path, path]).Contains(path);

    /// <summary>The instances that hold the property; where one may miss, what is reached is still that row wherever it is there.</summary>
    private List<string> Walk(ColumnOrigin cell, IEntityType type, IProperty property, string[] present)
    {
        var found = new List<string>();
        var queue = new Queue<Instance>([new Instance(cell.Path, cell.Table, type)]);
        var seen = new HashSet<(string, IEntityType)> { (cell.Path, type) };
        while (queue.TryDequeue(out var at))
        {
            if (Holds(at.Table, property))
            {
                found.Add(at.Path);
            }

            foreach (var next in Next(at, cell.Path, present))
            {
                if (seen.Add((next.Path, next.Type)))
                {
                    queue.Enqueue(next);
                }
            }
        }

        return found;
    }

    private static bool Holds(ITableBase table, IProperty property) => table.Columns.Any(c => c.PropertyMappings.Any(m => m.Property == property));

    /// <summary>Whether the path may have no row where the present ones have one.</summary>
    private bool MayMiss(string path, params IEnumerable<string> present)
        => _optional.Any(optional => IsWithin(path, optional) && !present.Any(p => IsWithin(p, optional)));

    private static bool IsWithin(string path, string outer) => path.StartsWith(outer, StringComparison.Ordinal) && (path.Length == outer.Length || path[outer.Length] == '/');

    private void Collect(QueryScope scope)
    {
        foreach (var table in scope.Select.Tables)
        {
            var source = table is JoinExpressionBase join ? join.Table : table;
            var here = $"{scope.Path}/{source.Alias}";
            var holdsAt = scope.Path;
            if (table is LeftJoinExpression or OuterApplyExpression)
            {
                _optional.Add(here);
                holdsAt = here;
            }
            else if (table is RightJoinExpression)
            {
                var left = scope.Select.Tables.TakeWhile(t => t != table).Select(t => $"{scope.Path}/{(t is JoinExpressionBase joined ? joined.Table : t).Alias}").ToList();
                _optional.UnionWith(left);
                holdsAt = left[0];
            }

            if (table is PredicateJoinExpressionBase predicated)
            {
                Equate(predicated.JoinPredicate, scope, holdsAt);
            }

            switch (source)
            {
                case SelectExpression inner:
                    Collect(new QueryScope(inner, here, scope));
                    break;
                case SetOperationBase set:
                    foreach (var side in QueryScope.SidesOf(set, here, scope))
                    {
                        _optional.Add(side.Path);
                        Collect(side);
                    }

                    break;
            }
        }

        if (scope.Select.Predicate is { } predicate)
        {
            Equate(predicate, scope, scope.Path);
        }
    }

    /// <param name="predicate">What holds wherever <paramref name="holdsAt"/> has a row.</param>
    /// <param name="scope">Where it stands.</param>
    /// <param name="holdsAt">The path of an outer join's table, or of the select.</param>
    private void Equate(SqlExpression predicate, QueryScope scope, string holdsAt)
    {
        switch (predicate)
        {
            case SqlBinaryExpression { OperatorType: ExpressionType.AndAlso } both:
                Equate(both.Left, scope, holdsAt);
                Equate(both.Right, scope, holdsAt);
                break;
            case SqlBinaryExpression { OperatorType: ExpressionType.Equal, Left: ColumnExpression left, Right: ColumnExpression right }:
                foreach (var one in ColumnTrace.Of(scope, left).Known)
                {
                    foreach (var other in ColumnTrace.Of(scope, right).Known.Where(o => o.Path != one.Path && QueryScope.MayMeet(o.Path, one.Path)))
                    {
                        _equalities.Add(new Equality(one, other, holdsAt));
                        _equalities.Add(new Equality(other, one, holdsAt));
                    }
                }

                break;
        }
    }

    /// <summary>Other parts of a row, and its owner's row.</summary>
    private IEnumerable<Instance> Next(Instance at, string cell, string[] present)
    {
        var ownership = at.Type.FindOwnership();
        if (ownership is not null && at.Table.EntityTypeMappings.Any(m => m.TypeBase == ownership.PrincipalEntityType))
        {
            yield return at with { Type = ownership.PrincipalEntityType };
        }

        foreach (var links in _equalities.Where(e => e.One.Path == at.Path && QueryScope.MayMeet(e.Other.Path, cell)).GroupBy(e => e.Other.Path))
        {
            // What is there although the row that leads to it is missing may be any row.
            string[] rows = [.. present, links.Key];
            var holding = MayMiss(at.Path, rows) ? [] : links.Where(l => !MayMiss(l.HoldsAt, rows)).ToList();
            if (holding.Count == 0)
            {
                continue;
            }

            // Concrete types with tables of their own share the root's key property, and no row.
            var table = holding[0].Other.Table;
            if (at.Type.FindPrimaryKey() is { } key && Equates(holding, key.Properties, key.Properties) && Types(table).Intersect(Types(at.Table)).Any())
            {
                yield return new Instance(links.Key, table, at.Type);
            }

            if (ownership is not null && Equates(holding, ownership.Properties, ownership.PrincipalKey.Properties) && Types(table).Any(ownership.PrincipalEntityType.IsAssignableFrom))
            {
                yield return new Instance(links.Key, table, ownership.PrincipalEntityType);
            }
        }
    }

    private static IEnumerable<IEntityType> Types(ITableBase table) => table.EntityTypeMappings.Select(m => m.TypeBase).OfType<IEntityType>();

    private static bool Equates(List<Equality> links, IReadOnlyList<IProperty> these, IReadOnlyList<IProperty> those)
        => Enumerable.Range(0, these.Count).All(i => links.Exists(l => l.One.Maps(these[i]) && l.Other.Maps(those[i])));

    private static int Common(string one, string other)
    {
        var (parts, others) = (one.Split('/'), other.Split('/'));
        return parts.Zip(others).TakeWhile(p => p.First == p.Second).Count();
    }

    private readonly record struct Equality(ColumnOrigin One, ColumnOrigin Other, string HoldsAt);

    private readonly record struct Instance(string Path, ITableBase Table, IEntityType Type);
}
