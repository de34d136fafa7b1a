using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>Wraps the commands of tables with encrypted columns; others pass through.</summary>
internal sealed class EnvelopeModificationCommandFactory(IModificationCommandFactory inner, IRelationalTypeMappingSource typeMappings) : IModificationCommandFactory
{
    public IModificationCommand CreateModificationCommand(in ModificationCommandParameters parameters)
    {
        var command = inner.CreateModificationCommand(parameters);
        return parameters.Table is { } table && EncryptedColumns.Any(table)
            ? new EnvelopeModificationCommand(command, typeMappings, parameters.GenerateParameterName)
            : command;
    }

    public INonTrackedModificationCommand CreateNonTrackedModificationCommand(in NonTrackedModificationCommandParameters parameters)
        => inner.CreateNonTrackedModificationCommand(parameters);
}
