using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>One encrypted cell: its value is the envelope, sealed once per attempt, with a mapping that has no converter.</summary>
internal sealed class EnvelopeColumnModification(
    IColumnModification inner, ColumnDeclaration declaration, SealingFrame? frame, IRelationalTypeMappingSource typeMappings) : IColumnModification
{
    private RelationalTypeMapping? _mapping;
    private object? _envelope;

    public RelationalTypeMapping? TypeMapping => _mapping ??= EncryptedColumns.MappingOf(inner, declaration, typeMappings);

    public object? Value
    {
        get => _envelope ??= Seal();
        set => inner.Value = value;
    }

    public IUpdateEntry? Entry => inner.Entry;

    public IProperty? Property => inner.Property;

    public IColumnBase? Column => inner.Column;

    public bool? IsNullable => inner.IsNullable;

    public bool IsRead
    {
        get => inner.IsRead;
        set => inner.IsRead = value;
    }

    public bool IsWrite
    {
        get => inner.IsWrite;
        set => inner.IsWrite = value;
    }

    public bool IsCondition
    {
        get => inner.IsCondition;
        set => inner.IsCondition = value;
    }

    public bool IsKey
    {
        get => inner.IsKey;
        set => inner.IsKey = value;
    }

    public bool UseOriginalValueParameter => inner.UseOriginalValueParameter;

    public bool UseCurrentValueParameter => inner.UseCurrentValueParameter;

    public bool UseOriginalValue => inner.UseOriginalValue;

    public bool UseCurrentValue => inner.UseCurrentValue;

    public bool UseParameter => inner.UseParameter;

    public string? ParameterName => inner.ParameterName;

    public string? OriginalParameterName => inner.OriginalParameterName;

    public string ColumnName => inner.ColumnName;

    public string? ColumnType => inner.ColumnType;

    public object? OriginalValue
    {
        get => inner.OriginalValue;
        set => inner.OriginalValue = value;
    }

    public string? JsonPath => inner.JsonPath;

    public void AddSharedColumnModification(IColumnModification modification) => inner.AddSharedColumnModification(modification);

    public void ResetParameterNames()
    {
        inner.ResetParameterNames();
        _envelope = null;
    }

    private object? Seal()
    {
        if (inner.Value is not { } value)
        {
            return null;
        }

        var converter = inner.TypeMapping?.Converter;
        if (frame is null || EnvelopeValueConverters.FindToken(converter) is null)
        {
            throw new EnvelopeConfigurationException(
                $"{Property!.DeclaringType.DisplayName()}.{Property.Name} is encrypted, but no key was chosen for its row. Nothing was written.")
            {
                Entity = Property.DeclaringType.DisplayName(),
                Property = Property.Name,
                ColumnId = declaration.ColumnId,
            };
        }

        object? envelope;
        using (frame.Enter())
        {
            try
            {
                envelope = converter!.ConvertToProvider(value);
            }
            catch (Exception error) when (error is not EnvelopeEncryptionException)
            {
                throw new EnvelopeRefusedException(
                    $"{Property!.DeclaringType.DisplayName()}.{Property.Name}: the application's own conversion (HasConversion) failed with {error.GetType().Name}; its message, which may hold the value, stands in the inner exception. Nothing was written.",
                    error)
                {
                    Entity = Property.DeclaringType.DisplayName(),
                    Property = Property.Name,
                    ColumnId = declaration.ColumnId,
                };
            }
        }

        if (envelope is string armor && Property!.GetMaxLength() is { } max && armor.Length > max)
        {
            throw new EnvelopeRefusedException(
                $"{Property.DeclaringType.DisplayName()}.{Property.Name}: the value's armour has {armor.Length} characters, its column {max}. Raise HasMaxLength, or store it in binary. Nothing was written.")
            {
                Entity = Property.DeclaringType.DisplayName(),
                Property = Property.Name,
                ColumnId = declaration.ColumnId,
            };
        }

        return envelope;
    }
}
