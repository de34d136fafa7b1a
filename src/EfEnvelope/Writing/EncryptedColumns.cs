using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>Answers about the encrypted columns of types and tables, remembered per model.</summary>
internal static class EncryptedColumns
{
    private static readonly ConditionalWeakTable<IEntityType, StrongBox<bool>> RowBound = [];
    private static readonly ConditionalWeakTable<ITable, StrongBox<bool>> Encrypted = [];
    private static readonly ConditionalWeakTable<IProperty, StoredMapping> Mappings = [];

    /// <summary>The mapping of a column's envelopes, which has no converter.</summary>
    public static RelationalTypeMapping? MappingOf(IColumnModification column, ColumnDeclaration declaration, IRelationalTypeMappingSource typeMappings)
    {
        if (column.Property is not { } property)
        {
            return Find();
        }

        if (!Mappings.TryGetValue(property, out var known))
        {
            known = Mappings.GetValue(property, _ => new StoredMapping(column.ColumnType, typeMappings, Find()));
        }

        return known.ColumnType == column.ColumnType && ReferenceEquals(known.Source, typeMappings) ? known.Mapping : Find();

        RelationalTypeMapping? Find()
        {
            var type = declaration.Armored ? typeof(string) : typeof(byte[]);
            return typeMappings.FindMapping(type, column.ColumnType!) ?? typeMappings.FindMapping(type);
        }
    }

    public static bool AnyRowBound(IEntityType type)
        => RowBound.GetValue(type, static t => new StrongBox<bool>(t.GetFlattenedProperties().Any(p => p.FindEnvelope() is { RowBound: true }))).Value;

    /// <summary>Whether the table has envelope columns or JSON documents with encrypted members.</summary>
    public static bool Any(ITable table) => Encrypted.GetValue(table, static t => new StrongBox<bool>(Compute(t))).Value;

    private static bool Compute(ITable table)
    {
        foreach (var column in table.Columns)
        {
            foreach (var mapping in column.PropertyMappings)
            {
                if (mapping.Property.FindEnvelope() is not null)
                {
                    return true;
                }
            }
        }

        foreach (var mapping in table.EntityTypeMappings)
        {
            if (mapping.TypeBase is IEntityType type && (Scoping.EncryptedTypeInfo.Of(type) is { HasJsonDocument: true } || OwnsEncryptedJson(type)))
            {
                return true;
            }
        }

        return false;
    }

    private sealed record StoredMapping(string? ColumnType, IRelationalTypeMappingSource Source, RelationalTypeMapping? Mapping);

    private static bool OwnsEncryptedJson(IEntityType type)
        => type.GetNavigations().Any(n => n.ForeignKey.IsOwnership && !n.IsOnDependent && n.TargetEntityType.IsMappedToJson() && Scoping.EncryptedTypeInfo.Of(n.TargetEntityType).InJsonDocument);
}
