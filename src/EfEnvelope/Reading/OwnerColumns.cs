using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>
/// Owned rows in a table of their own are their owner's, and only the owner's row says whose that is. Queries that return them without it (split queries, projections of a collection) join the owner all
/// the same: its tenant, subject or row id is returned behind everything that EF asked for, so that the cells can be compared with it.
/// </summary>
internal static class OwnerColumns
{
    private const string Alias = "efenvelope_owner";

    public static SelectExpression Complete(SelectExpression select)
    {
        if (select.IsDistinct || select.GroupBy.Count > 0 || select.Tables.Count < 2)
        {
            return select;
        }

        var done = new HashSet<(string, IProperty)>();
        foreach (var projection in select.Projection)
        {
            if (EnvelopeValueConverters.FindToken(projection.Expression.TypeMapping?.Converter) is null || projection.Expression is not ColumnExpression cell
                || Declaring(ColumnOrigin.Trace(select, cell)) is not { } type || type.FindOwnership() is null || FindOwner(select, cell.TableAlias, type) is not { } owner)
            {
                continue;
            }

            var info = EncryptedTypeInfo.Of(type);
            foreach (var property in new[] { info.ScopeProperty, info.RowIdProperty })
            {
                if (property is not null && done.Add((owner, property)) && !Returns(select, owner, property))
                {
                    select = Add(select, owner, property);
                }
            }
        }

        return select;
    }

    private static IEntityType? Declaring(ColumnOrigin? origin)
        => origin?.Table.FindColumn(origin.Value.ColumnName)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null)?.DeclaringType switch
        {
            IEntityType type => type,
            IComplexType complex => complex.ContainingEntityType,
            _ => null,
        };

    /// <summary>The alias of the root owner's table, by the joins' equalities of foreign key and key; null where the query does not join it.</summary>
    private static string? FindOwner(SelectExpression select, string alias, IEntityType type)
    {
        var equalities = select.Tables.OfType<PredicateJoinExpressionBase>().SelectMany(j => Equalities(j.JoinPredicate)).ToList();
        while (type.FindOwnership() is { } ownership)
        {
            string? owner = null;
            foreach (var property in ownership.Properties)
            {
                var other = equalities.Where(e => e.From.TableAlias == alias && e.To.TableAlias != alias && IsOf(select, e.From, property)).Select(e => e.To.TableAlias).FirstOrDefault();
                if (other is null || (owner is not null && other != owner))
                {
                    return null;
                }

                owner = other;
            }

            (alias, type) = (owner!, ownership.PrincipalEntityType);
        }

        return alias;
    }

    private static IEnumerable<(ColumnExpression From, ColumnExpression To)> Equalities(SqlExpression predicate) => predicate switch
    {
        SqlBinaryExpression { OperatorType: System.Linq.Expressions.ExpressionType.AndAlso } both => Equalities(both.Left).Concat(Equalities(both.Right)),
        SqlBinaryExpression { OperatorType: System.Linq.Expressions.ExpressionType.Equal, Left: ColumnExpression left, Right: ColumnExpression right } => [(left, right), (right, left)],
        _ => [],
    };

    private static bool IsOf(SelectExpression select, ColumnExpression column, IProperty property)
        => ColumnOrigin.Trace(select, column) is { } origin && origin.Table.FindColumn(origin.ColumnName) is { } mapped && mapped.PropertyMappings.Any(m => m.Property == property);

    private static bool Returns(SelectExpression select, string alias, IProperty property)
        => select.Projection.Any(p => p.Expression is ColumnExpression column && column.TableAlias == alias && IsOf(select, column, property));

    private static SelectExpression Add(SelectExpression select, string alias, IProperty property)
    {
        for (var i = 0; i < select.Tables.Count; i++)
        {
            var table = select.Tables[i];
            var source = table is JoinExpressionBase join ? join.Table : table;
            if (source.Alias != alias)
            {
                continue;
            }

            if (Name(source, property) is { } name)
            {
                return With(select, select.Tables, Column(name, alias, property));
            }

            // A subquery in front of the join: it has to return the column too.
            if (source is SelectExpression { IsDistinct: false, GroupBy.Count: 0 } inner && Inner(inner, property) is { } innerAlias)
            {
                var completed = Add(inner, innerAlias, property);
                if (!ReferenceEquals(completed, inner))
                {
                    List<TableExpressionBase> tables = [.. select.Tables];
                    tables[i] = table is JoinExpressionBase joined ? joined.Update(completed) : completed;
                    return With(select, tables, Column(completed.Projection[^1].Alias, alias, property));
                }
            }

            return select;
        }

        return select;
    }

    /// <summary>The column of a table, or of what a subquery returns already.</summary>
    private static string? Name(TableExpressionBase source, IProperty property) => source switch
    {
        TableExpression table => Name(table.Table, property),
        FromSqlExpression { Table: { } table } => Name(table, property),
        SelectExpression inner => inner.Projection.FirstOrDefault(p => p.Expression is ColumnExpression column && IsOf(inner, column, property))?.Alias,
        _ => null,
    };

    private static string? Name(ITableBase table, IProperty property) => table.Columns.FirstOrDefault(c => c.PropertyMappings.Any(m => m.Property == property))?.Name;

    /// <summary>The table of a subquery that holds the property; null where several do.</summary>
    private static string? Inner(SelectExpression select, IProperty property)
    {
        var aliases = select.Tables.Select(t => t is JoinExpressionBase join ? join.Table : t)
            .Where(t => Name(t, property) is not null || (t is SelectExpression nested && Inner(nested, property) is not null)).Select(t => t.Alias).ToList();
        return aliases.Count == 1 ? aliases[0] : null;
    }

    private static ColumnExpression Column(string name, string alias, IProperty property)
        => new(name, alias, property.ClrType, (RelationalTypeMapping)property.GetTypeMapping(), nullable: true);

    private static SelectExpression With(SelectExpression select, IReadOnlyList<TableExpressionBase> tables, ColumnExpression column)
    {
        var alias = Alias;
        for (var n = 0; select.Projection.Any(p => p.Alias == alias); n++)
        {
            alias = $"{Alias}{n}";
        }

        return select.Update(tables, select.Predicate, select.GroupBy, select.Having, [.. select.Projection, new ProjectionExpression(column, alias)], select.Orderings, select.Offset, select.Limit);
    }
}
