using System.Globalization;
using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage.Json;

namespace EfEnvelope.Conventions;

/// <summary>
/// Turns the declarations of a model (attribute, fluent annotations, scopes) into converters and column tokens. Applying it again is harmless and takes
/// up what was configured since; the user's own converter is kept inside ours.
/// </summary>
internal static class EncryptedModel
{
    /// <summary>EF's annotation of the models that it makes for <c>SqlQuery</c>.</summary>
    private const string AdHocModel = "AdHocModel";

    /// <param name="model">The model being built.</param>
    /// <param name="services">Null in the eager form, which then leaves collections and <c>HasConversion&lt;T&gt;()</c> to the finalizing convention.</param>
    /// <param name="ambientTenant">Whether entities without a scope of their own belong to the context's tenant.</param>
    public static void Apply(IMutableModel model, ConversionServices? services, bool ambientTenant)
    {
        MarkedStructures.Refuse(model);
        if (model.FindAnnotation(AdHocModel) is not null)
        {
            model.SetAnnotation(EnvelopeAnnotationNames.AdHoc, "true");
        }

        foreach (var entityType in model.GetEntityTypes())
        {
            Remember(entityType);
        }

        if (services is not null && !model.IsEnvelopeEnabled() && !model.GetEntityTypes().Any(e => EncryptedProperties(e).Any()))
        {
            // Nothing to encrypt. Not only the user's models come by here: EF builds one for its migrations history with the same conventions.
            UnseenMarks.Refuse(model);
            return;
        }

        RefuseAdHoc(model);
        var ambient = ambientTenant || model.IsAmbientByDefault();
        model.SetAnnotation(EnvelopeAnnotationNames.Enabled, ambient ? "1;ambient" : "1");
        RingModel.EnsureMapped(model);

        var shared = new SharedColumns();
        var entityTypes = model.GetEntityTypes().Where(e => !e.IsRingTable()).ToList();
        foreach (var entityType in entityTypes)
        {
            ScopeProperties.RefuseOnComplex(entityType);
            ScopeProperties.ApplyAttributes(entityType);
        }

        foreach (var entityType in entityTypes)
        {
            HistoryDeclaration.Apply(entityType);
        }

        UnseenMarks.Refuse(model);

        foreach (var entityType in entityTypes)
        {
            ScopeProperties.Apply(entityType);
            foreach (var property in EncryptedProperties(entityType).ToList())
            {
                EncryptedPropertyValidator.Validate(property, entityType);
                var token = ApplyTo(property, ambient, services);
                shared.AddId(property, ColumnDeclaration.Of(token).ColumnId);
                if (services is not null)
                {
                    shared.AddColumns(property, token);
                }
            }
        }

        shared.RefuseForeignFormerIds();
        if (services is not null)
        {
            shared.RefusePlain(entityTypes);
        }
    }

    private static void Remember(IMutableTypeBase type)
    {
        UnmappedMarks.Remember(type);
        foreach (var complex in type.GetDeclaredComplexProperties())
        {
            Remember(complex.ComplexType);
        }
    }

    /// <summary>EF makes a model of its own for the type of each <c>SqlQuery</c>: it does not say which entity's columns the query returns, so neither whose key opens them nor which row they are of.</summary>
    private static void RefuseAdHoc(IMutableModel model)
    {
        if (model.FindAnnotation(AdHocModel) is null)
        {
            return;
        }

        foreach (var property in model.GetEntityTypes().SelectMany(EncryptedProperties))
        {
            var type = property.DeclaringType.DisplayName();
            throw EncryptedPropertyValidator.Error(
                property,
                $"is returned by SqlQuery<{type}>, which does not say which entity's column it is, so that no value of it opens. Query the entity by SQL (Set<TEntity>().FromSql(...)) and project it, map {type} to a view or query (HasNoKey().ToView(...)) with the entity's data key and column id, or let {type} hold the raw envelope (a byte[] without [Encrypted]) and open it by EnvelopeProtector");
        }
    }

    /// <summary>
    /// Gives a property that was just declared a converter that refuses every value: declared, and UseEnvelopeEncryption forgotten, it is not stored in the clear. <see cref="Apply"/> replaces it.
    /// </summary>
    public static void FailClosed(IMutableProperty property)
    {
        TakeJsonForm(property);
        var user = property.GetValueConverter();
        if (user is IEnvelopeValueConverter)
        {
            return;
        }

        var modelType = Nullable.GetUnderlyingType(property.ClrType) ?? property.ClrType;
        if (user is null && property.GetProviderClrType() is null && !ValueCodec.IsSupported(modelType))
        {
            TakeElements(property);
        }

        var declaration = EncryptionDeclaration.Of(property);
        property.SetProviderValueComparer((ValueComparer?)null);
        property.SetValueConverter(EnvelopeValueConverters.Scalar(modelType, user, ColumnDeclaration.CreateToken(declaration.ColumnId, ScopeDeclaration.Global, declaration.RowBound, declaration.Armored, declaration.Padding), declaration.Armored));
    }

    /// <summary>Takes <see cref="FailClosed"/> back, and an earlier <see cref="Apply"/>.</summary>
    public static void Open(IMutableProperty property)
    {
        // Also where a conversion of the application's has replaced ours since: the column is a plain one.
        property.RemoveAnnotation(EnvelopeAnnotationNames.Column);
        if (property.RemoveAnnotation(EnvelopeAnnotationNames.PlaintextCollation)?.Value is string collation)
        {
            property.SetCollation(collation);
        }

        if (property.RemoveAnnotation(EnvelopeAnnotationNames.PlaintextMaxLength)?.Value is string length)
        {
            property.SetMaxLength(int.Parse(length, CultureInfo.InvariantCulture));
        }

        if (property.GetValueConverter() is not IEnvelopeValueConverter closed)
        {
            return;
        }

        property.SetValueConverter(closed.UserConverter);
        if (closed.UserConverter is null && property.GetProviderClrType() is null && !ValueCodec.IsSupported(Nullable.GetUnderlyingType(property.ClrType) ?? property.ClrType)
            && property.ClrType.GetInterfaces().Prepend(property.ClrType).FirstOrDefault(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEnumerable<>)) is { } list)
        {
            // A primitive collection, whose elements EF may look at again.
            property.SetElementType(list.GetGenericArguments()[0]);
        }
    }

    /// <summary>Declared encrypted properties of an entity type, complex types included.</summary>
    private static IEnumerable<IMutableProperty> EncryptedProperties(IMutableTypeBase type)
    {
        foreach (var property in type.GetDeclaredProperties())
        {
            if (EncryptionDeclaration.IsEncrypted(property))
            {
                yield return property;
            }
        }

        foreach (var complex in type.GetDeclaredComplexProperties())
        {
            foreach (var property in EncryptedProperties(complex.ComplexType))
            {
                yield return property;
            }
        }
    }

    private static string ApplyTo(IMutableProperty property, bool ambient, ConversionServices? services)
    {
        TakeJsonForm(property);
        var declaration = EncryptionDeclaration.Of(property);
        var json = IsInJson(property.DeclaringType);
        var armored = declaration.Armored || json;
        var scope = ScopeDeclaration.Of(property.DeclaringType, ambient);
        var token = ColumnDeclaration.CreateToken(declaration.ColumnId, scope, declaration.RowBound, armored, declaration.Padding, declaration.FormerColumnIds);
        var user = property.GetValueConverter() is IEnvelopeValueConverter applied ? applied.UserConverter : property.GetValueConverter();
        var deferred = user is null && services is null && property.GetProviderClrType() is not null;
        if (services is not null)
        {
            user ??= EncryptedPropertyValidator.ProviderTypeConverter(property, services.ConverterSelector);
        }

        var modelType = Nullable.GetUnderlyingType(property.ClrType) ?? property.ClrType;
        if (deferred || (user is null && !ValueCodec.IsSupported(modelType)))
        {
            var elementType = property.GetElementType()?.ClrType;
            var mapping = services?.TypeMappings.FindMapping(property.ClrType, (IModel)property.DeclaringType.Model);
            if (mapping?.JsonValueReaderWriter is { } readerWriter && (elementType is not null || mapping.ElementTypeMapping is not null))
            {
                if (armored)
                {
                    throw EncryptedPropertyValidator.Error(property, "is a collection inside a JSON document or an armoured column, which is not supported. Encrypt its elements' owner in a binary column");
                }

                var comparer = property.GetValueComparer() ?? mapping.Comparer;
                TakeElements(property);
                property.SetProviderClrType(null);
                property.SetProviderValueComparer((ValueComparer?)null);
                property.SetValueConverter(EnvelopeValueConverters.Json(property.ClrType, readerWriter, token));
                property.SetValueComparer(comparer);
                return Finish(property, token, armored: false);
            }

            if (services is null)
            {
                // Eager form: the finalizing convention knows the conversion. Until it ran, this converter refuses every value, so nothing is stored as plaintext.
                if (!deferred)
                {
                    TakeElements(property);
                    property.SetProviderClrType(null);
                }

                property.SetValueConverter(EnvelopeValueConverters.Scalar(modelType, null, token, armored));
                return Finish(property, token, armored);
            }

            throw EncryptedPropertyValidator.Error(
                property,
                $"is of type {modelType.Name}, which has no value encoding. Add a HasConversion to a supported type (string, byte[], integers, decimal, double, Guid, date and time types, bool)");
        }

        property.SetProviderClrType(null);
        property.SetProviderValueComparer((ValueComparer?)null);
        property.SetValueConverter(EnvelopeValueConverters.Scalar(modelType, user, token, armored));
        return Finish(property, token, armored);
    }

    /// <summary>
    /// A member of a JSON document is written by the property's own reader and writer where it has one, past its conversion, and so past its envelope. EF gives one to each enum of an owned document while it finalizes the model.
    /// </summary>
    private static void TakeJsonForm(IMutableProperty property)
    {
        if (property.GetJsonValueReaderWriter()?.GetType() is not { } form)
        {
            return;
        }

        if (!form.IsGenericType || form.GetGenericTypeDefinition() != typeof(JsonWarningEnumReaderWriter<>))
        {
            throw EncryptedPropertyValidator.Error(
                property, $"has a JSON reader and writer of its own ({form.Name}), by which EF would write its value into a document in the clear. Remove it (SetJsonValueReaderWriterType), and convert the value by HasConversion where it needs another form");
        }

        property.SetJsonValueReaderWriterType(null);
    }

    /// <summary>A primitive collection becomes one value; EF's element type, and a conversion in it, would be dropped with what it says.</summary>
    private static void TakeElements(IMutableProperty property)
    {
        if (property.GetElementType() is { } element && (element.GetValueConverter() is not null || element.GetProviderClrType() is not null))
        {
            throw EncryptedPropertyValidator.Error(
                property,
                "is a collection whose elements have a conversion of their own (ElementType(e => e.HasConversion(...))), which its envelope would not hold. Remove it, convert the whole collection (Property(...).HasConversion(...)), or the elements' type in the whole model (ConfigureConventions: Properties<T>().HaveConversion<...>())");
        }

        property.SetElementType(null);
    }

    private static string Finish(IMutableProperty property, string token, bool armored)
    {
        property.SetAnnotation(EnvelopeAnnotationNames.Column, token);
        EncryptedColumnType.Apply(property, armored, ColumnDeclaration.Of(token).Padding, IsInJson(property.DeclaringType));
        return token;
    }

    internal static bool IsInJson(IReadOnlyTypeBase type)
        => type switch
        {
            IReadOnlyEntityType entityType => entityType.IsMappedToJson(),
            IReadOnlyComplexType complexType => complexType.IsMappedToJson(),
            _ => false,
        };
}
