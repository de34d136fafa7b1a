using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Storage.Ring;

/// <summary>Maps the ring's tables into the user's model, so that ordinary migrations make them. All SQL takes their names from here.</summary>
internal static class RingModel
{
    private static readonly (Type Type, string Suffix, string[] Key)[] Tables =
    [
        (typeof(EnvelopeRingRow), "Ring", [nameof(EnvelopeRingRow.Slot)]),
        (typeof(EnvelopeKeyRow), "Keys", [nameof(EnvelopeKeyRow.Id)]),
        (typeof(EnvelopeColumnRow), "Columns", [nameof(EnvelopeColumnRow.DatabaseName), nameof(EnvelopeColumnRow.TableName), nameof(EnvelopeColumnRow.ColumnName)]),
        (typeof(EnvelopeJobRow), "Jobs", [nameof(EnvelopeJobRow.Id)]),
        (typeof(EnvelopeJobUnitRow), "JobUnits", [nameof(EnvelopeJobUnitRow.JobId), nameof(EnvelopeJobUnitRow.Ordinal)]),
        (typeof(EnvelopeQuarantineRow), "Quarantine", [nameof(EnvelopeQuarantineRow.Id)]),
    ];

    /// <summary>Maps the tables, or renames them where they are mapped already.</summary>
    public static void Configure(IMutableModel model, RingTableOptions options)
    {
        foreach (var (type, suffix, key) in Tables)
        {
            var entityType = model.FindEntityType(type) ?? Add(model, type, key);
            entityType.SetTableName(options.Prefix + suffix);
            entityType.SetSchema(options.Schema ?? model.GetDefaultSchema());
            entityType.SetIsTableExcludedFromMigrations(options.ExcludeFromMigrations ? true : null);
        }
    }

    /// <summary>Maps the tables with their default names, unless the model has them.</summary>
    public static void EnsureMapped(IMutableModel model)
    {
        if (model.FindEntityType(typeof(EnvelopeKeyRow)) is null)
        {
            Configure(model, new RingTableOptions());
        }
    }

    private static IMutableEntityType Add(IMutableModel model, Type type, string[] key)
    {
        var entityType = model.AddEntityType(type);
        entityType.SetAnnotation(EnvelopeAnnotationNames.RingTable, type.Name);
        foreach (var member in type.GetProperties())
        {
            var property = entityType.FindProperty(member.Name) ?? entityType.AddProperty(member);
            var nullable = Nullable.GetUnderlyingType(member.PropertyType) is not null || member.Name is "RootKeyId" or "KeyMaterialId" or "Reason" or "ChangedBy" && type == typeof(EnvelopeKeyRow)
                || member.Name is "ReleaseReason" or "Report" or "LowKey" or "HighKey" or "Owner" or "Checkpoint" or "Digest";
            property.IsNullable = nullable;
            property.ValueGenerated = ValueGenerated.Never;
            LeaveConventions(property);
        }

        entityType.SetPrimaryKey([.. key.Select(name => entityType.FindProperty(name)!)]);
        foreach (var property in entityType.GetProperties())
        {
            property.ValueGenerated = ValueGenerated.Never;
        }

        if (type == typeof(EnvelopeKeyRow))
        {
            entityType.AddIndex([entityType.FindProperty(nameof(EnvelopeKeyRow.Scope))!, entityType.FindProperty(nameof(EnvelopeKeyRow.Purpose))!, entityType.FindProperty(nameof(EnvelopeKeyRow.Version))!]).IsUnique = true;
            entityType.AddIndex([entityType.FindProperty(nameof(EnvelopeKeyRow.KekId))!]);
            entityType.AddIndex([entityType.FindProperty(nameof(EnvelopeKeyRow.ChangedEpoch))!]);
        }
        else if (type == typeof(EnvelopeQuarantineRow))
        {
            entityType.AddIndex([entityType.FindProperty(nameof(EnvelopeQuarantineRow.Digest))!]).IsUnique = true;
        }

        return entityType;
    }

    /// <summary>
    /// What the application sets for all its properties of a type (<c>Properties&lt;string&gt;().HaveMaxLength(100)</c>) is not meant for the ring: it would cut plans and reasons, fold scopes, and order versions as text. Guids may be
    /// converted: they are compared for equality only.
    /// </summary>
    private static void LeaveConventions(IMutableProperty property)
    {
        property.SetMaxLength(null);
        property.SetIsFixedLength(null);
        property.SetIsUnicode(null);
        property.SetCollation(null);
        if (Nullable.GetUnderlyingType(property.ClrType) != typeof(Guid) && property.ClrType != typeof(Guid))
        {
            property.SetColumnType(null);
            property.SetProviderClrType(null);
            property.SetValueConverter((Microsoft.EntityFrameworkCore.Storage.ValueConversion.ValueConverter?)null);
        }
    }
}
