using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.EntityFrameworkCore.Migrations.Operations;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses a migration that would turn an existing plaintext column into an envelope column in place: PostgreSQL fails half-way, SQLite would keep the plaintext under a new type.
/// Works on the model snapshot, so it speaks at <c>migrations add</c> already, and without a key service.
/// </summary>
internal sealed class PlaintextColumnGuard(IMigrationsModelDiffer inner) : IMigrationsModelDiffer
{
    public bool HasDifferences(IRelationalModel? source, IRelationalModel? target) => inner.HasDifferences(source, target);

    public IReadOnlyList<MigrationOperation> GetDifferences(IRelationalModel? source, IRelationalModel? target)
    {
        if (source is not null && target is not null)
        {
            Check(source, target);
        }

        return inner.GetDifferences(source, target);
    }

    private static void Check(IRelationalModel source, IRelationalModel target)
    {
        foreach (var table in target.Tables)
        {
            if (source.FindTable(table.Name, table.Schema) is not { } existing)
            {
                continue;
            }

            foreach (var column in table.Columns)
            {
                if (Encrypted(column) is not { } property || existing.FindColumn(column.Name) is not { } before || Encrypted(before) is not null)
                {
                    continue;
                }

                throw new EnvelopeConfigurationException(
                    $"Encrypted property {property.DeclaringType.DisplayName()}.{property.Name}: column {table.Name}.{column.Name} exists and holds plaintext; a migration cannot encrypt it in place. Map the property to a new column (HasColumnName(\"{column.Name}Encrypted\")), add it by a migration, copy the values through the application, and drop the old column afterwards. Nothing was changed.")
                {
                    Entity = property.DeclaringType.DisplayName(),
                    Property = property.Name,
                    ColumnId = property.FindEnvelope()?.ColumnId,
                };
            }
        }
    }

    private static IProperty? Encrypted(IColumn column)
    {
        foreach (var mapping in column.PropertyMappings)
        {
            if (mapping.Property.FindAnnotation(EnvelopeAnnotationNames.Column) is not null)
            {
                return mapping.Property;
            }
        }

        return null;
    }
}
