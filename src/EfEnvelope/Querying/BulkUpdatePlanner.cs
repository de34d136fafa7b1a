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
            RefuseScopeChange(update, setter);
            RefuseDocument(update, setter);
            if (EnvelopeValueConverters.FindToken(setter.Column.TypeMapping?.Converter) is not { } token || setter.Value is SqlConstantExpression { Value: null })
            {
                continue;
            }

            var column = ColumnDeclaration.Of(token);
            var property = Property(update, setter.Column);
            if (column.PerRow || column.RowBound)
            {
                throw Error(property, column, column.PerRow ? "each row has a key of its own" : "each value is bound to its row");
            }

            if (setter.Value is not SqlParameterExpression)
            {
                throw Error(property, column, "the database cannot compute or copy encrypted values; only a value of the application can be set");
            }

            if (column.IsAmbient)
            {
                throw Error(property, column, "its rows take their key from the context's tenant, and no column says which rows are that tenant's (a tenant property, HasDataKeyPerTenant, would)");
            }

            if (column.Parent == DeclaredScope.Global)
            {
                continue;
            }

            plan ??= FindScope(update, property)
                ?? throw Error(property, column, "the filter must equate the property that chooses the data key with one value (such as c.TenantId == tenant)");
        }

        return plan;
    }

    private static BulkUpdatePlan? FindScope(UpdateExpression update, IProperty? property)
    {
        if (property is null)
        {
            return null;
        }

        var type = property.DeclaringType as IEntityType ?? ((IComplexType)property.DeclaringType).ContainingEntityType;
        var info = EncryptedTypeInfo.Of(type);
        return info.ScopeProperty is { } scope && update.SelectExpression.Predicate is { } predicate ? Conjunct(predicate, update, scope, info.Scope) : null;
    }

    private static BulkUpdatePlan? Conjunct(SqlExpression predicate, UpdateExpression update, IProperty scope, ScopeDeclaration declaration)
    {
        if (predicate is not SqlBinaryExpression binary)
        {
            return null;
        }

        if (binary.OperatorType == ExpressionType.AndAlso)
        {
            return Conjunct(binary.Left, update, scope, declaration) ?? Conjunct(binary.Right, update, scope, declaration);
        }

        if (binary.OperatorType != ExpressionType.Equal)
        {
            return null;
        }

        var (column, value) = IsScope(binary.Left, update, scope) ? (binary.Left, binary.Right) : (binary.Right, binary.Left);
        if (!IsScope(column, update, scope))
        {
            return null;
        }

        return value switch
        {
            SqlParameterExpression parameter => new BulkUpdatePlan(declaration, scope, parameter.Name, null),
            SqlConstantExpression { Value: { } constant } => new BulkUpdatePlan(declaration, scope, null, constant),
            _ => null,
        };
    }

    private static bool IsScope(SqlExpression expression, UpdateExpression update, IProperty scope)
        => expression is ColumnExpression column && ColumnOrigin.Trace(update.SelectExpression, column) is { } origin
            && origin is { IsPart: false } && origin.Path == $"/{update.Table.Alias}"
            && origin.Table.FindColumn(origin.ColumnName) is { } mapped && mapped.PropertyMappings.Any(m => m.Property == scope);

    private static void RefuseScopeChange(UpdateExpression update, ColumnValueSetter setter)
    {
        foreach (var mapping in update.Table.Table.FindColumn(setter.Column.Name)?.PropertyMappings ?? [])
        {
            if (mapping.Property.DeclaringType is not IEntityType type)
            {
                continue;
            }

            var info = EncryptedTypeInfo.Of(type);
            if (info.ScopeProperty == mapping.Property || info.RowIdProperty == mapping.Property)
            {
                throw new EnvelopeQueryException(
                    $"{type.DisplayName()}.{mapping.Property.Name} chooses the row's data key and is immutable: its encrypted values would no longer open. Insert a new row instead.")
                {
                    Entity = type.DisplayName(),
                    Property = mapping.Property.Name,
                };
            }
        }
    }

    private static IProperty? Property(UpdateExpression update, ColumnExpression column)
        => update.Table.Table.FindColumn(column.Name)?.PropertyMappings.Select(m => m.Property).FirstOrDefault(p => p.FindEnvelope() is not null);

    /// <summary>A whole document, whose encrypted members nobody would seal, or whose armour would come from another column.</summary>
    private static void RefuseDocument(UpdateExpression update, ColumnValueSetter setter)
    {
        if (setter.Value is not (SqlFunctionExpression or SqlConstantExpression { Value: null })
            && JsonDocuments.FindMember(new ColumnOrigin("", update.Table.Table, setter.Column.Name)) is { } member)
        {
            throw QueryRefusal.BulkUpdate(member, "its document is rendered and sealed by SaveChanges only");
        }
    }

    private static EnvelopeQueryException Error(IProperty? property, ColumnDeclaration column, string why)
        => property is not null
            ? QueryRefusal.BulkUpdate(property, why)
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
