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
        ColumnOrigin?[]? origins = null;
        for (var i = 0; i < select.Projection.Count; i++)
        {
            var projection = select.Projection[i];
            var expression = projection.Expression;
            var token = EnvelopeValueConverters.FindToken(expression.TypeMapping?.Converter);
            if (token is not null)
            {
                origins ??= Origins(select);
                (cells ??= []).Add(Cell(select, i, origins, ColumnDeclaration.Of(token)));
            }
            else if (expression is not JsonScalarExpression { TypeMapping: not JsonTypeMapping }
                && Column(expression) is { } column && ColumnOrigin.Trace(select, column) is { } origin && JsonDocuments.FindOwner(origin) is { } owner)
            {
                // A plain member on its own comes as its own type, and holds no armour.
                origins ??= Origins(select);
                (cells ??= []).Add(Complete(i, projection.Alias is { Length: > 0 } alias ? alias : expression is JsonScalarExpression { Path.Count: > 0 } ? "" : origin.ColumnName, CellKind.Document, null, $"{owner.DisplayName()}.{origin.ColumnName}", owner, null, origins) with { Members = JsonDocuments.MemberNames(origin) });
            }
        }

        return cells is null ? null : new ReadPlan([.. cells]);
    }

    private static ColumnOrigin?[] Origins(SelectExpression select) => [.. select.Projection.Select(p => (Chosen(p.Expression) ?? Column(p.Expression)) is { } column ? ColumnOrigin.Trace(select, column) : null)];

    /// <summary>The encrypted column of a CASE that chooses between it and NULL (mixed ones are refused): what it returns is of that column's row.</summary>
    private static ColumnExpression? Chosen(SqlExpression expression)
    {
        if (expression is not CaseExpression choice || EnvelopeValueConverters.FindToken(choice.TypeMapping?.Converter) is null)
        {
            return null;
        }

        var results = choice.WhenClauses.Select(w => w.Result).Append(choice.ElseResult).Where(r => r is not (null or SqlConstantExpression { Value: null })).Distinct().ToList();
        return results.Count == 1 ? results[0] as ColumnExpression : null;
    }

    /// <summary>EF projects a JSON document, whole or a part of it, as a path into its column.</summary>
    private static ColumnExpression? Column(SqlExpression expression) => (expression as JsonScalarExpression)?.Json as ColumnExpression ?? expression as ColumnExpression;

    private static EnvelopeCell Cell(SelectExpression select, int ordinal, ColumnOrigin?[] origins, ColumnDeclaration column)
    {
        var projection = select.Projection[ordinal];
        var property = origins[ordinal] is { } origin ? FindProperty(origin) : null;
        var name = projection.Alias is { Length: > 0 } alias ? alias : (projection.Expression as ColumnExpression)?.Name ?? "";
        var display = property is null ? column.ColumnId : $"{property.DeclaringType.DisplayName()}.{property.Name}";
        var owner = property is null ? null : property.DeclaringType as IEntityType ?? ((IComplexType)property.DeclaringType).ContainingEntityType;
        if (projection.Expression is JsonScalarExpression)
        {
            // A member of a document is armour, whatever its declaration would be in a column of its own.
            return Complete(ordinal, name, CellKind.Armor, column, display, origins[ordinal] is { } document ? JsonDocuments.FindOwner(document) : null, property, origins);
        }

        return Complete(ordinal, name, column.Armored ? CellKind.Armor : CellKind.Binary, column, display, owner, property, origins);
    }

    private static EnvelopeCell Complete(
        int ordinal, string name, CellKind kind, ColumnDeclaration? column, string display, IEntityType? owner, IProperty? property, ColumnOrigin?[] origins)
    {
        var type = owner is null ? null : EncryptedTypeInfo.Of(owner);
        var scopeOrdinal = type?.ScopeProperty is { } scope ? Find(origins, origins[ordinal], scope) : -1;
        var rowIdOrdinal = type?.RowIdProperty is { } rowId ? Find(origins, origins[ordinal], rowId) : -1;
        IProperty[] keyProperties = [];
        int[] keyOrdinals = [];
        if (column is { RowBound: true })
        {
            keyProperties = owner?.FindPrimaryKey() is { } key ? [.. key.Properties] : [];
            keyOrdinals = [.. keyProperties.Select(p => Find(origins, origins[ordinal], p))];
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

    /// <summary>The ordinal of a property of the same row; else the only one of that property in the whole result (TPT, owned types in tables of their own).</summary>
    private static int Find(ColumnOrigin?[] origins, ColumnOrigin? cell, IProperty property)
    {
        var only = -1;
        for (var i = 0; i < origins.Length; i++)
        {
            if (origins[i] is not { } origin || origin.Table.FindColumn(origin.ColumnName) is not { } column || !column.PropertyMappings.Any(m => m.Property == property))
            {
                continue;
            }

            if (cell is { } here && origin.Path == here.Path)
            {
                return i;
            }

            // Another instance of the cell's own table is another row (a self-join): what it says is of that row.
            if (cell is not { } other || origin.Table != other.Table)
            {
                only = only == -1 ? i : -2;
            }
        }

        return Math.Max(only, -1);
    }

    private static IProperty? FindProperty(ColumnOrigin origin)
        => origin.Table.FindColumn(origin.ColumnName)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null);
}
