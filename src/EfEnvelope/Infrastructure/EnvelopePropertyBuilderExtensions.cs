using EfEnvelope.Conventions;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace EfEnvelope;

/// <summary>The fluent form of <see cref="EncryptedAttribute"/>, which it overrules.</summary>
public static class EnvelopePropertyBuilderExtensions
{
    /// <summary>Encrypts the property's column.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <param name="configure">Column id, padding, row binding, armour.</param>
    /// <returns>The same builder.</returns>
    public static PropertyBuilder<TProperty> IsEncrypted<TProperty>(this PropertyBuilder<TProperty> builder, Action<EncryptedPropertyOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Apply(builder.Metadata, configure);
        return builder;
    }

    /// <summary>Encrypts the column of a complex type's property.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <param name="configure">Column id, padding, row binding, armour.</param>
    /// <returns>The same builder.</returns>
    public static ComplexTypePropertyBuilder<TProperty> IsEncrypted<TProperty>(this ComplexTypePropertyBuilder<TProperty> builder, Action<EncryptedPropertyOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Apply(builder.Metadata, configure);
        return builder;
    }

    /// <summary>Encrypts the property of a complex type in each element of a collection.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <param name="configure">Column id, padding, row binding, armour.</param>
    /// <returns>The same builder.</returns>
    public static ComplexCollectionTypePropertyBuilder<TProperty> IsEncrypted<TProperty>(this ComplexCollectionTypePropertyBuilder<TProperty> builder, Action<EncryptedPropertyOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Apply(builder.Metadata, configure);
        return builder;
    }

    /// <summary>Encrypts the column of a primitive collection, which is stored as one envelope of its JSON.</summary>
    /// <typeparam name="TProperty">The collection's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <param name="configure">Column id, padding, row binding, armour.</param>
    /// <returns>The same builder.</returns>
    public static PrimitiveCollectionBuilder<TProperty> IsEncrypted<TProperty>(this PrimitiveCollectionBuilder<TProperty> builder, Action<EncryptedPropertyOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Apply(builder.Metadata, configure);
        return builder;
    }

    /// <summary>Encrypts the column of a property that is named: a shadow property, for instance.</summary>
    /// <param name="builder">The property's builder.</param>
    /// <param name="configure">Column id, padding, row binding, armour.</param>
    /// <returns>The same builder.</returns>
    public static PropertyBuilder IsEncrypted(this PropertyBuilder builder, Action<EncryptedPropertyOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Apply(builder.Metadata, configure);
        return builder;
    }

    /// <summary>Leaves the property in the clear, although it carries <see cref="EncryptedAttribute"/>.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <returns>The same builder.</returns>
    public static PropertyBuilder<TProperty> IsNotEncrypted<TProperty>(this PropertyBuilder<TProperty> builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Leave(builder.Metadata);
        return builder;
    }

    /// <summary>Leaves the complex type's property in the clear, although it carries <see cref="EncryptedAttribute"/>.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <returns>The same builder.</returns>
    public static ComplexTypePropertyBuilder<TProperty> IsNotEncrypted<TProperty>(this ComplexTypePropertyBuilder<TProperty> builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Leave(builder.Metadata);
        return builder;
    }

    /// <summary>Leaves the property of a complex type in a collection in the clear, although it carries <see cref="EncryptedAttribute"/>.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <returns>The same builder.</returns>
    public static ComplexCollectionTypePropertyBuilder<TProperty> IsNotEncrypted<TProperty>(this ComplexCollectionTypePropertyBuilder<TProperty> builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Leave(builder.Metadata);
        return builder;
    }

    /// <summary>Leaves the primitive collection in the clear, although it carries <see cref="EncryptedAttribute"/>.</summary>
    /// <typeparam name="TProperty">The property's type.</typeparam>
    /// <param name="builder">The property's builder.</param>
    /// <returns>The same builder.</returns>
    public static PrimitiveCollectionBuilder<TProperty> IsNotEncrypted<TProperty>(this PrimitiveCollectionBuilder<TProperty> builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Leave(builder.Metadata);
        return builder;
    }

    private static void Apply(IMutableProperty property, Action<EncryptedPropertyOptions>? configure)
    {
        property.SetAnnotation(EnvelopeAnnotationNames.Encrypted, "true");
        var options = new EncryptedPropertyOptions();
        configure?.Invoke(options);
        foreach (var (name, value) in options.Annotations)
        {
            property.SetAnnotation(name, value);
        }

        EncryptedModel.FailClosed(property);
    }

    private static void Leave(IMutableProperty property)
    {
        property.SetAnnotation(EnvelopeAnnotationNames.Encrypted, "false");
        EncryptedModel.Open(property);
    }
}
