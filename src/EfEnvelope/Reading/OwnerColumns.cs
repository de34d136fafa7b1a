using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>
/// Owned rows in a table of their own are their owner's, and only the owner's row says whose that is. Queries that return them without it (split queries, projections of a collection, pages of one) join the owner all
/// the same: its tenant, subject or row id is returned behind everything that EF asked for, so that the cells can be compared with it.
/// </summary>
internal static class OwnerColumns
{
    private const string Alias = "efenvelope_owner";

    public static SelectExpression Complete(SelectExpression select)
    {
        if (select.IsDistinct || select.GroupBy.Count > 0)
        {
            return select;
        }

        foreach (var projection in select.Projection)
        {
            if (projection.Expression is not ColumnExpression cell || FindOwned(select, cell) is not { } type)
            {
                continue;
            }

            var info = EncryptedTypeInfo.Of(type);
            foreach (var property in info.Choosers)
            {
                if (!IsReturned(select, cell, type, property) && Ensure(select, cell, type, property) is { } completed)
                {
                    select = completed.Select;
                }
            }
        }

        return select;
    }

    /// <summary>The owned type whose encrypted column it is; null for any other column.</summary>
    private static IEntityType? FindOwned(SelectExpression select, ColumnExpression cell)
        => EnvelopeValueConverters.FindToken(cell.TypeMapping?.Converter) is not null
            && ColumnTrace.Of(select, cell).Known is [var origin, ..]
            && origin.Table.FindColumn(origin.ColumnName)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null)?.DeclaringType.ContainingEntityType is IEntityType type
            && type.FindOwnership() is not null
            ? type
            : null;

    private static bool IsReturned(SelectExpression select, ColumnExpression cell, IEntityType type, IProperty property)
    {
        var result = ResultColumns.Of(select);
        return ColumnTrace.Of(select, cell).Known.Select(origin => result.FindLinkedChooser(origin, type, property)).Distinct().ToList() is [>= 0];
    }

    /// <summary>The select with the property of the cell's owner behind its projection, and its name there; null where the query does not join the owner.</summary>
    private static (SelectExpression Select, string Name)? Ensure(SelectExpression select, ColumnExpression cell, IEntityType type, IProperty property)
    {
        if (ColumnTrace.Of(select, cell).Known is [var origin, ..]
            && RowLinks.Of(select).Find(origin, type, property) is { Count: > 0 } paths
            && Add(new QueryScope(select, "", null), new Owner(origin, property, paths)) is { } added)
        {
            return added;
        }

        // Each side of a set operation joins its own owners.
        return Replace(select, cell.TableAlias, property, source => source switch
        {
            SelectExpression { IsDistinct: false, GroupBy.Count: 0 } inner when Inner(inner, cell.Name) is { } column && Ensure(inner, column, type, property) is { } completed => completed,
            UnionExpression { IsDistinct: false } union when Inner(union.Source1, cell.Name) is { } column && Inner(union.Source2, cell.Name) is { } other
                && Ensure(union.Source1, column, type, property) is { } one && Ensure(union.Source2, other, type, property) is { } two => Both(union, one, two),
            _ => null,
        });
    }

    /// <summary>The property of the owner's nearest table, through the subqueries that lead there.</summary>
    private static (SelectExpression Select, string Name)? Add(QueryScope scope, Owner owner)
    {
        var (select, property) = (scope.Select, owner.Property);
        var alias = owner.Nearest[(scope.Path.Length + 1)..].Split('/')[0];
        var here = $"{scope.Path}/{alias}";
        var table = select.Tables.Select(Source).FirstOrDefault(t => t.Alias == alias) switch
        {
            TableExpression mapped => mapped.Table,
            FromSqlExpression raw => raw.Table,
            TableValuedFunctionExpression { StoreFunction: { } mapped } => mapped,
            _ => null,
        };
        if (table is not null)
        {
            return owner.Nearest == here && table.Columns.FirstOrDefault(c => c.PropertyMappings.Any(m => m.Property == property)) is { } column
                ? With(select, select.Tables, Column(column.Name, alias, property))
                : null;
        }

        return Replace(select, alias, property, source => Returned(source, scope, owner) ?? source switch
        {
            SelectExpression { IsDistinct: false, GroupBy.Count: 0 } inner when owner.Nearest.Length > here.Length => Add(new QueryScope(inner, here, scope), owner),

            // A hierarchy with a table for each type: each side reads one of them.
            UnionExpression { IsDistinct: false } union when QueryScope.SidesOf(union, here, scope).ToList() is [var left, var right]
                && AddOnly(left, owner) is { } one && AddOnly(right, owner) is { } two => Both(union, one, two),
            _ => null,
        });
    }

    /// <summary>The source as it is, where it returns the property already: DISTINCT and the set operations do, of whole rows, and a column more would make them others.</summary>
    private static (TableExpressionBase Source, string Name)? Returned(TableExpressionBase source, QueryScope scope, Owner owner)
    {
        var projection = source switch { SelectExpression inner => inner.Projection, SetOperationBase set => set.Source1.Projection, _ => [] };
        return projection.FirstOrDefault(p => ResultColumns.Holds(ColumnTrace.Of(scope, Column(p.Alias, source.Alias!, owner.Property)), owner.Cell, owner.Property, owner.Paths, owner.Nearest)) is { } returned
            ? (source, returned.Alias)
            : null;
    }

    /// <summary>The same on one side of a set operation, by the instances that stand there.</summary>
    private static (SelectExpression Select, string Name)? AddOnly(QueryScope side, Owner owner)
        => side.Select is not { IsDistinct: false, GroupBy.Count: 0 } ? null
            : owner.Paths.Where(p => p.StartsWith(side.Path + "/", StringComparison.Ordinal)).ToList() is { Count: > 0 } paths ? Add(side, owner with { Paths = paths })
            : side.Select.Tables is [var only] ? Add(side, owner with { Paths = [$"{side.Path}/{Source(only).Alias}"] })
            : null;

    private static (TableExpressionBase Source, string Name)? Both(UnionExpression union, (SelectExpression Select, string Name) one, (SelectExpression Select, string Name) other)
        => one.Name == other.Name && one.Select.Projection.Count == other.Select.Projection.Count ? (union.Update(one.Select, other.Select), one.Name) : null;

    /// <summary>Puts a completed source in the place of the one with that alias, and returns its new column.</summary>
    private static (SelectExpression Select, string Name)? Replace(SelectExpression select, string alias, IProperty property, Func<TableExpressionBase, (TableExpressionBase Source, string Name)?> complete)
    {
        for (var i = 0; i < select.Tables.Count; i++)
        {
            if (Source(select.Tables[i]).Alias == alias)
            {
                if (complete(Source(select.Tables[i])) is not { } completed)
                {
                    return null;
                }

                List<TableExpressionBase> tables = [.. select.Tables];
                tables[i] = tables[i] is JoinExpressionBase join ? join.Update(completed.Source) : completed.Source;
                return With(select, tables, Column(completed.Name, alias, property));
            }
        }

        return null;
    }

    private static TableExpressionBase Source(TableExpressionBase table) => table is JoinExpressionBase join ? join.Table : table;

    private static ColumnExpression? Inner(SelectExpression select, string name) => select.Projection.FirstOrDefault(p => p.Alias == name)?.Expression as ColumnExpression;

    private static ColumnExpression Column(string name, string alias, IProperty property)
        => new(name, alias, property.ClrType, (RelationalTypeMapping)property.GetTypeMapping(), nullable: true);

    private static (SelectExpression Select, string Name) With(SelectExpression select, IReadOnlyList<TableExpressionBase> tables, ColumnExpression column)
    {
        var alias = Alias;
        for (var n = 0; select.Projection.Any(p => p.Alias == alias); n++)
        {
            alias = $"{Alias}{n}";
        }

        return (select.Update(tables, select.Predicate, select.GroupBy, select.Having, [.. select.Projection, new ProjectionExpression(column, alias)], select.Orderings, select.Offset, select.Limit), alias);
    }

    /// <summary>A property of the cell's row, or of its owner's, and the paths of the instances that hold it.</summary>
    private sealed record Owner(ColumnOrigin Cell, IProperty Property, IReadOnlyList<string> Paths)
    {
        public string Nearest => Paths[0];
    }
}
