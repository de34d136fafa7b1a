using System.Linq.Expressions;
using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>Finds, in the final SQL tree, which ordinals of a result are envelopes, armour or JSON with encrypted members.</summary>
internal sealed class ReadPlanner : IQueryPlanner
{
    public Expression Complete(Expression sqlTree) => sqlTree is SelectExpression select ? OwnerColumns.Complete(select) : sqlTree;

    public IQueryPlan? Plan(Expression sqlTree)
    {
        if (sqlTree is not SelectExpression select)
        {
            return null;
        }

        List<EnvelopeCell>? cells = null;
        Result? result = null;
        for (var i = 0; i < select.Projection.Count; i++)
        {
            var projection = select.Projection[i];
            var expression = projection.Expression;
            var token = EnvelopeValueConverters.FindToken(expression.TypeMapping?.Converter);
            if (token is not null)
            {
                result ??= Result.Of(select);
                (cells ??= []).Add(Cell(select, i, result, ColumnDeclaration.Of(token)));
            }
            else if (ColumnOrigin.Trace(select, expression) is { } origin && (expression.TypeMapping is JsonTypeMapping || !origin.IsPart) && JsonDocuments.FindOwner(origin) is { } owner)
            {
                // A plain member on its own comes as its own type, and holds no armour.
                result ??= Result.Of(select);
                (cells ??= []).Add(Complete(i, projection.Alias is { Length: > 0 } alias ? alias : origin.IsPart ? "" : origin.ColumnName, CellKind.Document, null, $"{owner.DisplayName()}.{origin.ColumnName}", owner, null, result) with { Members = JsonDocuments.MemberNames(origin), IsList = origin.IsPart ? null : JsonDocuments.IsList(origin) });
            }
        }

        return cells is null ? null : new ReadPlan([.. cells], IsRaw(select) ? [.. select.Projection.Select(p => ((ColumnExpression)p.Expression).Name)] : null);
    }

    /// <summary>Whether EF sends the application's SQL as it is.</summary>
    private static bool IsRaw(SelectExpression select)
        => select is { Tables: [FromSqlExpression only], IsDistinct: false, Predicate: null, GroupBy.Count: 0, Having: null, Orderings.Count: 0, Limit: null, Offset: null }
            && select.Projection.All(p => p.Expression is ColumnExpression column && column.TableAlias == only.Alias && (p.Alias.Length == 0 || p.Alias == column.Name));

    /// <summary>The encrypted column of a CASE that chooses between it and NULL (mixed ones are refused): what it returns is of that column's row.</summary>
    private static SqlExpression? Chosen(SqlExpression expression)
    {
        if (expression is not CaseExpression choice || EnvelopeValueConverters.FindToken(choice.TypeMapping?.Converter) is null)
        {
            return null;
        }

        var results = choice.WhenClauses.Select(w => w.Result).Append(choice.ElseResult).Where(r => r is not (null or SqlConstantExpression { Value: null })).Distinct().ToList();
        return results.Count == 1 ? results[0] : null;
    }

    private static EnvelopeCell Cell(SelectExpression select, int ordinal, Result result, ColumnDeclaration column)
    {
        var projection = select.Projection[ordinal];
        var property = result.Origins[ordinal] is { } origin ? FindProperty(origin) : null;
        var name = projection.Alias is { Length: > 0 } alias ? alias : (projection.Expression as ColumnExpression)?.Name ?? "";
        var display = property is null ? column.ColumnId : $"{property.DeclaringType.DisplayName()}.{property.Name}";
        var owner = property is null ? null : property.DeclaringType as IEntityType ?? ((IComplexType)property.DeclaringType).ContainingEntityType;
        var document = result.Origins[ordinal] is { } whole ? JsonDocuments.FindOwner(whole) : null;
        if (document is not null || projection.Expression is JsonScalarExpression)
        {
            // A member of a document is armour, whatever its declaration would be in a column of its own.
            return Complete(ordinal, name, CellKind.Armor, column, display, document, property, result);
        }

        return Complete(ordinal, name, column.Armored ? CellKind.Armor : CellKind.Binary, column, display, owner, property, result);
    }

    private static EnvelopeCell Complete(
        int ordinal, string name, CellKind kind, ColumnDeclaration? column, string display, IEntityType? owner, IProperty? property, Result result)
    {
        var type = owner is null ? null : EncryptedTypeInfo.Of(owner);
        var scopeOrdinal = type?.ScopeProperty is { } scope ? result.FindChooser(ordinal, owner!, scope) : -1;
        var rowIdOrdinal = type?.RowIdProperty is { } rowId ? result.FindChooser(ordinal, owner!, rowId) : -1;
        IProperty[] keyProperties = [];
        int[] keyOrdinals = [];
        if (column is { RowBound: true })
        {
            keyProperties = owner?.FindPrimaryKey() is { } key ? [.. key.Properties] : [];
            keyOrdinals = [.. keyProperties.Select(p => result.FindKey(ordinal, owner!, p))];
            if (keyProperties.Length == 0 || keyOrdinals.Contains(-1))
            {
                throw new EnvelopeQueryException(
                    $"{display} is row-bound: it opens only together with its row's primary key, which this query does not return. Project the key too, or load the entity.")
                {
                    Entity = owner?.DisplayName(),
                    Property = property?.Name,
                    ColumnId = column.ColumnId,
                };
            }
        }

        return new EnvelopeCell(ordinal, name, kind, column, display, type, scopeOrdinal, rowIdOrdinal, keyOrdinals, keyProperties);
    }

    private static IProperty? FindProperty(ColumnOrigin origin)
        => origin.IsPart ? null : origin.Table.FindColumn(origin.ColumnName)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null);

    /// <summary>What a query returns: where each column comes from, and which belong to one row.</summary>
    private sealed class Result(ColumnOrigin?[] origins, RowLinks links)
    {
        public ColumnOrigin?[] Origins => origins;

        public static Result Of(SelectExpression select)
            => new([.. select.Projection.Select(p => ColumnOrigin.Trace(select, Chosen(p.Expression) ?? p.Expression))], RowLinks.Of(select));

        /// <summary>The ordinal of the property that chooses the key of the cell's row; where the query does not say which that is, the only one of that property in the whole result.</summary>
        public int FindChooser(int cell, IEntityType type, IProperty property)
        {
            var paths = Linked(cell, type, property);
            return paths.Count == 0 ? Only(cell, property) : Find(property, path => path == paths[0]);
        }

        /// <summary>The ordinal of a part of the primary key of the cell's row, in whichever of the row's tables.</summary>
        public int FindKey(int cell, IEntityType type, IProperty property)
        {
            var paths = Linked(cell, type, property);
            return paths.Count == 0 ? Only(cell, property) : Find(property, paths.Contains);
        }

        private IReadOnlyList<string> Linked(int cell, IEntityType type, IProperty property) => origins[cell] is { } origin ? links.Find(origin, type, property) : [];

        private int Find(IProperty property, Func<string, bool> isOfRow) => Array.FindIndex(origins, o => o is { } origin && RowLinks.Maps(origin, property) && isOfRow(origin.Path));

        /// <summary>Another instance of the cell's own table is another row (a self-join): what it says is of that row.</summary>
        private int Only(int cell, IProperty property)
        {
            var table = origins[cell]?.Table;
            var found = Enumerable.Range(0, origins.Length).Where(i => origins[i] is { } origin && origin.Table != table && RowLinks.Maps(origin, property)).Take(2).ToList();
            return found.Count == 1 ? found[0] : -1;
        }
    }
}
