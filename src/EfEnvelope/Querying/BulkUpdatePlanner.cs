using System.Linq.Expressions;
using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;

namespace EfEnvelope.Querying;

/// <summary>
/// <c>ExecuteUpdate</c> over encrypted columns: allowed where the filter equates the property that chooses the data key with one value, which then selects the key. (A call
/// without that wrote one tenant's key into another's row.) Everything else is refused when the statement is compiled.
/// </summary>
internal sealed class BulkUpdatePlanner : IQueryPlanner
{
    public IQueryPlan? Plan(Expression sqlTree) => sqlTree is UpdateExpression update ? Check(update) : null;

    /// <exception cref="EnvelopeQueryException">The statement cannot be served.</exception>
    public static IQueryPlan? Check(UpdateExpression update)
    {
        BulkUpdatePlan? plan = null;
        foreach (var setter in update.ColumnValueSetters)
        {
            RefuseRowChange(update, setter);
            RefuseDocument(update, setter);
            if (EnvelopeValueConverters.FindToken(setter.Column.TypeMapping?.Converter) is not { } token || ColumnTrace.IsNull(setter.Value))
            {
                continue;
            }

            var column = ColumnDeclaration.Of(token);
            var property = Property(update, setter.Column);
            if (column.PerRow || column.RowBound)
            {
                throw Error(update, property, column, column.PerRow ? "each row has a key of its own" : "each value is bound to its row");
            }

            if (setter.Value is not SqlParameterExpression)
            {
                throw Error(update, property, column, "the database cannot compute or copy encrypted values; only a value of the application can be set");
            }

            if (column.IsAmbient)
            {
                throw Error(update, property, column, "its rows take their key from the context's tenant, and no column says which rows are that tenant's (a tenant property, HasDataKeyPerTenant, would)");
            }

            if (column.Parent == DeclaredScope.Global)
            {
                continue;
            }

            plan ??= FindScope(update, property)
                ?? throw Error(update, property, column, "the filter must equate the property that chooses the data key with one value (such as c.TenantId == tenant), in the statement itself and not before an OrderBy, Take or Skip");
        }

        return plan;
    }

    private static BulkUpdatePlan? FindScope(UpdateExpression update, IProperty? property)
    {
        if (property is null)
        {
            return null;
        }

        var type = property.DeclaringType as IEntityType ?? (IEntityType)((IComplexType)property.DeclaringType).ContainingEntityType;
        var info = EncryptedTypeInfo.Of(type);
        if (info.ScopeProperty is not { } scope)
        {
            return null;
        }

        // In the updated table, or in another table of the same row, which the statement joins by its key (the root's, of a hierarchy with a table for each type).
        var own = new ColumnOrigin($"/{update.Table.Alias}", update.Table.Table, "");
        var links = RowLinks.Of(update.SelectExpression);
        return Predicates(new QueryScope(update.SelectExpression, "", null))
            .Select(p => Conjunct(p.Predicate, info.Scope, scope, side => IsScope(ColumnTrace.Of(p.Scope, side))))
            .FirstOrDefault(plan => plan is not null);

        // Where the predicate holds, its column's row is there.
        bool IsScope(ColumnTrace side) => side.Known is { IsEmpty: false } origins && origins.All(o => o.Maps(scope) && (o.Path == own.Path || links.IsOfRow(o.Path, own, type, scope)));
    }

    /// <summary>What holds for every row of a select: its own predicate, and those of the subqueries that it joins, but by no outer join.</summary>
    private static IEnumerable<(SqlExpression Predicate, QueryScope Scope)> Predicates(QueryScope scope)
    {
        if (scope.Select.Predicate is { } predicate)
        {
            yield return (predicate, scope);
        }

        foreach (var table in scope.Select.Tables)
        {
            if ((table is InnerJoinExpression or CrossJoinExpression ? ((JoinExpressionBase)table).Table : table) is SelectExpression inner)
            {
                foreach (var found in Predicates(new QueryScope(inner, $"{scope.Path}/{inner.Alias}", scope)))
                {
                    yield return found;
                }
            }
        }
    }

    private static BulkUpdatePlan? Conjunct(SqlExpression predicate, ScopeDeclaration declaration, IProperty scope, Func<SqlExpression, bool> isScope)
    {
        if (predicate is not SqlBinaryExpression binary)
        {
            return null;
        }

        if (binary.OperatorType == ExpressionType.AndAlso)
        {
            return Conjunct(binary.Left, declaration, scope, isScope) ?? Conjunct(binary.Right, declaration, scope, isScope);
        }

        if (binary.OperatorType != ExpressionType.Equal)
        {
            return null;
        }

        var (column, value) = isScope(binary.Left) ? (binary.Left, binary.Right) : (binary.Right, binary.Left);
        if (!isScope(column))
        {
            return null;
        }

        return value switch
        {
            // EF keeps the values under the name of the variable; in SQL it is another one where the variable stands there twice.
            SqlParameterExpression parameter => new BulkUpdatePlan(declaration, scope, parameter.InvariantName, null),
            SqlConstantExpression { Value: { } constant } => new BulkUpdatePlan(declaration, scope, null, constant),
            _ => null,
        };
    }

    /// <summary>Refuses what the row's other cells would no longer open under: their data key, or the row that they are bound to, would be another.</summary>
    private static void RefuseRowChange(UpdateExpression update, ColumnValueSetter setter)
    {
        foreach (var property in update.Table.Table.FindColumn(setter.Column.Name)?.PropertyMappings.Select(m => m.Property) ?? [])
        {
            if (property.DeclaringType is not IEntityType type)
            {
                continue;
            }

            var info = EncryptedTypeInfo.Of(type);
            var why = info.ScopeProperty == property || info.RowIdProperty == property ? "chooses the row's data key and is immutable: its encrypted values would no longer open. Insert a new row instead"
                : info.IsBoundTo(property) ? "is a part of the primary key to which encrypted values of the row are bound: they would no longer open. Insert a new row instead, with their values"
                : info.IsOwnedBy(property) ? "says whose data key the row's encrypted values have: under an owner of another one they would no longer open. Load the rows and use SaveChanges, which compares the owners; or remove them, and add new ones"
                : null;
            if (why is not null)
            {
                throw new EnvelopeQueryException($"{type.DisplayName()}.{property.Name} {why}.")
                {
                    Entity = type.DisplayName(),
                    Property = property.Name,
                };
            }
        }
    }

    private static IProperty? Property(UpdateExpression update, ColumnExpression column)
        => update.Table.Table.FindColumn(column.Name)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null);

    /// <summary>A whole document, whose encrypted members nobody would seal, or whose armour would come from another column.</summary>
    private static void RefuseDocument(UpdateExpression update, ColumnValueSetter setter)
    {
        if (setter.Value is not SqlFunctionExpression && !ColumnTrace.IsNull(setter.Value)
            && JsonDocuments.FindMember(new ColumnOrigin("", update.Table.Table, setter.Column.Name)) is { } member)
        {
            throw QueryRefusal.BulkUpdate(member, "its document is rendered and sealed by SaveChanges only");
        }
    }

    private static EnvelopeQueryException Error(UpdateExpression update, IProperty? property, ColumnDeclaration column, string why)
        => (property ?? EncryptedMembers.Find(update.Table.Table.Model.Model, column.ColumnId)) is { } named
            ? QueryRefusal.BulkUpdate(named, why)
            : new EnvelopeQueryException($"Column '{column.ColumnId}' is encrypted and cannot be set by this ExecuteUpdate: {why}. Load the rows and use SaveChanges.") { ColumnId = column.ColumnId };
}

/// <summary>The scope that a bulk update's filter fixes.</summary>
internal sealed class BulkUpdatePlan(ScopeDeclaration declaration, IProperty scope, string? parameter, object? constant) : IQueryPlan
{
    public void OnCommandCreating(CommandFrame frame, IReadOnlyDictionary<string, object?> parameterValues)
    {
        var value = parameter is null ? constant : parameterValues.GetValueOrDefault(parameter);
        if (value is not null)
        {
            frame.Scope = RowScope.Of(declaration, RowScope.ProviderValue(scope, value));
        }
    }
}
