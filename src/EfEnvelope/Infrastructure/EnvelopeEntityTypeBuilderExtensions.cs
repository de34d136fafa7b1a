using System.Linq.Expressions;
using EfEnvelope.Conventions;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace EfEnvelope;

/// <summary>
/// Declares, on the root entity type, which data key its rows are sealed with. The row decides; the declared property is immutable from its first save. Overrules the attributes
/// (<see cref="DataKeyPerTenantAttribute"/>, <see cref="DataKeyPerSubjectAttribute"/>, <see cref="DataKeyPerRowAttribute"/>).
/// </summary>
public static class EnvelopeEntityTypeBuilderExtensions
{
    /// <summary>One data key per tenant, chosen by a scalar property of the row (string, Guid or integer; null and the CLR default are refused on save).</summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <param name="tenant">The property, such as <c>c => c.TenantId</c>; store-generated numbers are refused.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerTenant<TEntity>(this EntityTypeBuilder<TEntity> builder, Expression<Func<TEntity, object?>> tenant)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        Set(builder, ScopeDeclaration.ForTenant(PropertyName(tenant)));
        return builder;
    }

    /// <summary>One data key per tenant, taken from the context (<c>UseTenant</c> in the options).</summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerTenant<TEntity>(this EntityTypeBuilder<TEntity> builder)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        Set(builder, ScopeDeclaration.AmbientTenant);
        return builder;
    }

    /// <summary>One data key per tenant, chosen by a property that is named: a shadow property, for instance.</summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <param name="tenantProperty">Name of the scalar property.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerTenant<TEntity>(this EntityTypeBuilder<TEntity> builder, string tenantProperty)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        Set(builder, ScopeDeclaration.ForTenant(tenantProperty));
        return builder;
    }

    /// <summary>One data key per data subject, chosen by a property that is named: a shadow property, for instance.</summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <param name="name">The subject's name, which several entity types may share. No <c>/</c>, <c>|</c> or <c>@</c>.</param>
    /// <param name="subjectProperty">Name of the scalar property.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerSubject<TEntity>(this EntityTypeBuilder<TEntity> builder, string name, string subjectProperty)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        Set(builder, ScopeDeclaration.ForSubject(name, subjectProperty));
        return builder;
    }

    /// <summary>One data key per data subject (a customer, a patient), so that one subject's data can be erased.</summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <param name="name">The subject's name, which several entity types may share: <c>customer</c>. No <c>/</c>, <c>|</c> or <c>@</c>.</param>
    /// <param name="subject">The property that identifies the subject.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerSubject<TEntity>(
        this EntityTypeBuilder<TEntity> builder, string name, Expression<Func<TEntity, object?>> subject)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        Set(builder, ScopeDeclaration.ForSubject(name, PropertyName(subject)));
        return builder;
    }

    /// <summary>
    /// Gives each row a data key of its own, wrapped by its tenant's or subject's key (or the global one). Adds a Guid property that names the row's lineage of keys.
    /// </summary>
    /// <typeparam name="TEntity">The root entity type.</typeparam>
    /// <param name="builder">The entity's builder.</param>
    /// <param name="rowIdProperty">Name of that property. Default <c>EnvelopeRowId</c>, a shadow property.</param>
    /// <returns>The same builder.</returns>
    public static EntityTypeBuilder<TEntity> HasDataKeyPerRow<TEntity>(this EntityTypeBuilder<TEntity> builder, string rowIdProperty = ScopeProperties.DefaultRowId)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(rowIdProperty);
        builder.Metadata.SetAnnotation(EnvelopeAnnotationNames.PerRow, rowIdProperty);
        return builder;
    }

    /// <summary>
    /// Declares that the entity's table keeps former values of another entity's rows, which the database copies (a trigger, a temporal extension) without opening them. Properties with the names of encrypted ones of that
    /// entity become encrypted with the same column ids, under the same data key scope: the table is read, counted by the census and re-encrypted like any other. Members of owned and complex types are matched by name too.
    /// </summary>
    /// <remarks>Its tenant, subject and row id columns must be copied with the values. An envelope may be moved between the two tables unnoticed: they hold the same column's values.</remarks>
    /// <typeparam name="THistory">The history's root entity type; a shared-type entity (<c>Dictionary&lt;string, object&gt;</c>) where the application has no class for it.</typeparam>
    /// <param name="builder">The history's builder.</param>
    /// <param name="source">The entity type whose former values the table keeps; an entity of the same model.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">While the model is built: the source is no entity of the model or a history itself, no property has the name of an encrypted one of it, types differ, or the source's property is row-bound.</exception>
    public static EntityTypeBuilder<THistory> IsEncryptedHistoryOf<THistory>(this EntityTypeBuilder<THistory> builder, Type source)
        where THistory : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(source);
        builder.Metadata.SetAnnotation(EnvelopeAnnotationNames.HistoryOf, source.FullName ?? source.Name);
        return builder;
    }

    private static void Set<TEntity>(EntityTypeBuilder<TEntity> builder, ScopeDeclaration scope)
        where TEntity : class
        => builder.Metadata.SetAnnotation(EnvelopeAnnotationNames.Scope, scope.ToAnnotation());

    private static string PropertyName<TEntity>(Expression<Func<TEntity, object?>> expression)
    {
        ArgumentNullException.ThrowIfNull(expression);
        var body = expression.Body;
        while (body is UnaryExpression { NodeType: ExpressionType.Convert } convert)
        {
            body = convert.Operand;
        }

        return body is MemberExpression { Expression: ParameterExpression } member
            ? member.Member.Name
            : throw new EnvelopeConfigurationException(
                $"{typeof(TEntity).Name}: '{expression}' does not name one scalar property of the entity itself. Navigations and computed values cannot choose a data key.");
    }
}
