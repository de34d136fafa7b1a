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
        ResultColumns? result = null;
        for (var i = 0; i < select.Projection.Count; i++)
        {
            var projection = select.Projection[i];
            var expression = projection.Expression;
            var token = EnvelopeValueConverters.FindToken(expression.TypeMapping?.Converter);
            if (token is not null)
            {
                (cells ??= []).Add(Cell(select, i, result ??= ResultColumns.Of(select), ColumnDeclaration.Of(token)));
            }
            else if (FindDocument(select, expression) is { } document)
            {
                (cells ??= []).Add(Document(projection, i, result ??= ResultColumns.Of(select), document));
            }
        }

        return cells is null ? null : new ReadPlan([.. cells], select.IsNonComposedFromSql() ? [.. select.Projection.Select(p => ((ColumnExpression)p.Expression).Name)] : null);
    }

    /// <summary>A document with encrypted members, or a part of one. A plain member on its own comes as its own type, and holds no armour.</summary>
    private static ColumnOrigin? FindDocument(SelectExpression select, SqlExpression expression)
    {
        foreach (var origin in ColumnTrace.Of(select, expression).Origins)
        {
            if ((expression.TypeMapping is JsonTypeMapping || !origin.IsPart) && JsonDocuments.FindOwner(origin) is not null)
            {
                return origin;
            }
        }

        return null;
    }

    private static EnvelopeCell Document(ProjectionExpression projection, int ordinal, ResultColumns result, ColumnOrigin document)
    {
        var owner = JsonDocuments.FindOwner(document)!;
        var (members, plain) = JsonDocuments.MemberNames(document);
        var cell = new EnvelopeCell(
            ordinal, projection.Alias is { Length: > 0 } alias ? alias : document.IsPart ? "" : document.ColumnName, CellKind.Document, null, $"{owner.DisplayName()}.{document.ColumnName}", null, -1, -1, [], [])
        {
            Members = members,
            PlainMembers = plain,
            IsList = document.IsPart ? null : JsonDocuments.IsList(document),
        };
        return WithRow(cell, result, JsonDocuments.FindOwner);
    }

    private static EnvelopeCell Cell(SelectExpression select, int ordinal, ResultColumns result, ColumnDeclaration column)
    {
        var projection = select.Projection[ordinal];
        var origins = result.Origins(ordinal);
        var property = origins.Select(FindProperty).FirstOrDefault(p => p is not null);

        // A member of a document is armour, whatever its declaration would be in a column of its own, and wherever it comes from.
        var isArmor = column.Armored || projection.Expression is JsonScalarExpression || projection.Expression.TypeMapping?.Converter?.ProviderClrType == typeof(string) || origins.Any(o => JsonDocuments.FindOwner(o) is not null);
        var cell = WithRow(
            new EnvelopeCell(
                ordinal,
                projection.Alias is { Length: > 0 } alias ? alias : (projection.Expression as ColumnExpression)?.Name ?? "",
                isArmor ? CellKind.Armor : CellKind.Binary,
                column,
                property is null ? column.ColumnId : $"{property.DeclaringType.DisplayName()}.{property.Name}",
                null,
                -1,
                -1,
                [],
                []),
            result,
            origin => JsonDocuments.FindOwner(origin) ?? (FindProperty(origin) is { } of ? of.DeclaringType as IEntityType ?? ((IComplexType)of.DeclaringType).ContainingEntityType : null));
        return !column.RowBound || cell.KeyOrdinals is { Length: > 0 } keys && !keys.Contains(-1)
            ? cell
            : throw new EnvelopeQueryException(
                $"{cell.Display} is row-bound: it opens only together with its row's primary key, which this query does not return. Project the key too, or load the entity.")
            {
                Entity = property?.DeclaringType.ContainingEntityType.DisplayName(),
                Property = property?.Name,
                ColumnId = column.ColumnId,
            };
    }

    /// <summary>The cell with the columns that say whose row it is: where it comes from several places, those that say so for each of them.</summary>
    private static EnvelopeCell WithRow(EnvelopeCell cell, ResultColumns result, Func<ColumnOrigin, IEntityType?> findOwner)
    {
        EnvelopeCell? found = null;
        foreach (var origin in result.Origins(cell.Ordinal))
        {
            if (findOwner(origin) is not { } owner)
            {
                return cell;
            }

            var type = EncryptedTypeInfo.Of(owner);
            IProperty[] key = cell.Column is { RowBound: true } && owner.FindPrimaryKey() is { } primary ? [.. primary.Properties] : [];
            var one = cell with
            {
                Type = type,
                ScopeOrdinal = type.ScopeProperty is { } scope ? result.FindChooser(origin, owner, scope) : -1,
                RowIdOrdinal = type.RowIdProperty is { } rowId ? result.FindChooser(origin, owner, rowId) : -1,
                KeyOrdinals = [.. key.Select(p => result.FindKey(origin, owner, p))],
                KeyProperties = key,
            };
            if (found is not null && !ReferenceEquals(found.Type, type))
            {
                return cell;
            }

            found = found is null ? one : found with
            {
                ScopeOrdinal = found.ScopeOrdinal == one.ScopeOrdinal ? one.ScopeOrdinal : -1,
                RowIdOrdinal = found.RowIdOrdinal == one.RowIdOrdinal ? one.RowIdOrdinal : -1,
                KeyOrdinals = found.KeyOrdinals.SequenceEqual(one.KeyOrdinals) ? one.KeyOrdinals : [],
            };
        }

        return found ?? cell;
    }

    private static IProperty? FindProperty(ColumnOrigin origin)
        => origin.IsPart ? null : origin.Table.FindColumn(origin.ColumnName)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null);
}
