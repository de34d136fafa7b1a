using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>One encrypted cell: its value is the envelope, sealed once per attempt, with a mapping that has no converter.</summary>
internal sealed class EnvelopeColumnModification(
    IColumnModification inner, ColumnDeclaration declaration, SealingFrame? frame, IRelationalTypeMappingSource typeMappings) : ColumnModificationDecorator(inner)
{
    private RelationalTypeMapping? _mapping;
    private object? _envelope;

    public override RelationalTypeMapping? TypeMapping => _mapping ??= EncryptedColumns.MappingOf(Inner, declaration, typeMappings);

    public override object? Value
    {
        get => _envelope ??= Seal();
        set => Inner.Value = value;
    }

    public override void ResetParameterNames()
    {
        base.ResetParameterNames();
        _envelope = null;
    }

    private object? Seal()
    {
        if (Inner.Value is not { } value)
        {
            return null;
        }

        var converter = Inner.TypeMapping?.Converter;
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
