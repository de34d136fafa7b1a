using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.EntityFrameworkCore.Migrations.Operations;

namespace EfEnvelope.Conventions;

/// <summary>
/// Refuses a migration that would change in place whether, in which form, or under which column id an existing column holds envelopes: PostgreSQL fails half-way, SQLite would keep the plaintext under a new type,
/// and nothing opens under another id. Takes from encrypted columns the default that EF gives to rows which are there.
/// Works on the model snapshot, so it speaks at <c>migrations add</c> already, and without a key service. Columns and tables that the same migration renames are followed.
/// </summary>
internal sealed class PlaintextColumnGuard(IMigrationsModelDiffer inner) : IMigrationsModelDiffer
{
    public bool HasDifferences(IRelationalModel? source, IRelationalModel? target) => inner.HasDifferences(source, target);

    public IReadOnlyList<MigrationOperation> GetDifferences(IRelationalModel? source, IRelationalModel? target)
    {
        var operations = inner.GetDifferences(source, target);
        if (source is not null && target is not null)
        {
            Check(source, target, operations);
            RemoveDefaults(target, operations);
        }

        return operations;
    }

    private static void Check(IRelationalModel source, IRelationalModel target, IReadOnlyList<MigrationOperation> operations)
    {
        var newTables = operations.OfType<CreateTableOperation>().Select(o => (o.Name, o.Schema)).ToHashSet();
        var newColumns = operations.OfType<AddColumnOperation>().Select(o => (o.Table, o.Schema, o.Name)).ToHashSet();
        foreach (var table in target.Tables)
        {
            var renamed = operations.OfType<RenameTableOperation>().FirstOrDefault(o => (o.NewName ?? o.Name, o.NewName is null && o.NewSchema is null ? o.Schema : o.NewSchema) == (table.Name, table.Schema));
            var former = renamed is null ? source.FindTable(table.Name, table.Schema) : source.FindTable(renamed.Name, renamed.Schema);
            if (former is null || newTables.Contains((table.Name, table.Schema)))
            {
                continue;
            }

            foreach (var column in table.Columns)
            {
                var old = operations.OfType<RenameColumnOperation>()
                    .FirstOrDefault(o => o.NewName == column.Name && ((o.Table == table.Name && o.Schema == table.Schema) || (o.Table == former.Name && o.Schema == former.Schema)));
                if (!newColumns.Contains((table.Name, table.Schema, column.Name)) && former.FindColumn(old?.Name ?? column.Name) is { } before)
                {
                    Check(before, column, isRenamed: old is not null);
                    CheckMembers(before, column);
                }
            }
        }
    }

    /// <summary>
    /// Rows that are there would get EF's default for a required column, which is no envelope: without it the database refuses the migration while a row has no value.
    /// </summary>
    private static void RemoveDefaults(IRelationalModel target, IReadOnlyList<MigrationOperation> operations)
    {
        foreach (var operation in operations.OfType<ColumnOperation>().Where(o => o is AddColumnOperation or AlterColumnOperation))
        {
            if (target.FindTable(operation.Table, operation.Schema)?.FindColumn(operation.Name) is { } column && Encrypted(column) is not null)
            {
                operation.DefaultValue = null;
            }
        }
    }

    private static void Check(IColumn before, IColumn column, bool isRenamed)
    {
        var (was, becomes) = (Encrypted(before), Encrypted(column));
        if (becomes is { } property && was is null)
        {
            throw Refused(
                property,
                column,
                $"column {before.Table.Name}.{before.Name} exists and holds plaintext; a migration cannot encrypt it in place. {Another(before, column, isRenamed)}Map the property to a new column (HasColumnName(\"{(isRenamed ? column.Name : column.Name + "Encrypted")}\")), and {Keep(before)}; add it by a migration, copy the values through the application, and drop the old column afterwards");
        }

        if (was is { } former && becomes is null && column.PropertyMappings is [{ Property: { } plain }, ..])
        {
            throw Refused(
                plain,
                column,
                $"column {before.Table.Name}.{before.Name} exists and holds envelopes of column id '{former.FindEnvelope()?.ColumnId}'; a migration cannot decrypt it in place. {Another(before, column, isRenamed)}Map the property to a new column (HasColumnName(\"{(isRenamed ? column.Name : column.Name + "Plain")}\")), and {Keep(before)}; add it by a migration, copy the values through the application, and drop the old column afterwards");
        }

        if (becomes?.FindEnvelope() is not { } now || was?.FindEnvelope() is not { } then)
        {
            return;
        }

        if (now.Armored != then.Armored)
        {
            throw Refused(
                becomes,
                column,
                $"column {before.Table.Name}.{before.Name} exists and holds envelopes {(then.Armored ? "as text armour" : "in binary")}; a migration cannot change the form in place. Map the property to a new column, add it by a migration, copy the values through the application, and drop the old column afterwards");
        }

        if (!Opens(then, now))
        {
            throw Refused(becomes, column, $"column {before.Table.Name}.{before.Name} exists and holds values of column id '{then.ColumnId}', which would not open under '{now.ColumnId}'. {Another(before, column, isRenamed)}{KeepId(then)}");
        }
    }

    /// <summary>EF takes a column that goes and one that comes in the same migration for a renamed one where their types are alike, whatever their properties.</summary>
    private static string Another(IColumn before, IColumn column, bool isRenamed)
    {
        var (former, present) = (Property(before), Property(column));
        return isRenamed && !string.Equals(former, present, StringComparison.Ordinal)
            ? $"If {present} is another property than {former}, and not {former} renamed: remove {former} in a migration of its own, and add {present} in the next one, or this one would move the values of the one into the other. Else: "
            : "";
    }

    private static string Property(IColumn column) => column.PropertyMappings.Count > 0 ? column.PropertyMappings[0].Property.Name : column.Name;

    private static string Keep(IColumn before) => $"keep the old one by another property meanwhile (HasColumnName(\"{before.Name}\")), or EF renames it";

    /// <summary>Whether values of the former declaration open under the present one, or the reverse: the same differences are asked for a migration's way back.</summary>
    private static bool Opens(ColumnDeclaration then, ColumnDeclaration now)
        => now.ColumnId == then.ColumnId || now.FormerColumnIds.Contains(then.ColumnId, StringComparer.Ordinal) || then.FormerColumnIds.Contains(now.ColumnId, StringComparer.Ordinal);

    private static string KeepId(ColumnDeclaration then)
        => $"A renamed class or property keeps the id: [Encrypted(ColumnId = \"{then.ColumnId}\")], or declare it as a former one: [Encrypted(FormerColumnIds = [\"{then.ColumnId}\"])]";

    /// <summary>A document stays where it is, and no operation shows that one of its members is to be encrypted.</summary>
    private static void CheckMembers(IColumn before, IColumn column)
    {
        if (before.PropertyMappings.Count > 0 || column.PropertyMappings.Count > 0)
        {
            return;
        }

        var former = new Dictionary<string, ColumnDeclaration?>(StringComparer.Ordinal);
        foreach (var (path, property) in JsonMembers.Of(before))
        {
            former[path] = property.FindEnvelope();
        }

        foreach (var (path, property) in JsonMembers.Of(column))
        {
            if (!former.TryGetValue(path, out var then))
            {
                continue;
            }

            var (now, was) = (property.FindEnvelope(), then is not null);
            if (was != (now is not null))
            {
                throw Refused(
                    property,
                    column,
                    $"documents of column {before.Table.Name}.{before.Name} exist, and hold '{path[1..]}' as {(was ? "envelopes" : "plaintext")}; a migration cannot change that in place. Give the member another name in the document (HasJsonPropertyName(\"{property.Name}{(was ? "Plain" : "Encrypted")}\")), copy the values through the application, and remove the old member afterwards");
            }

            if (then is not null && now is not null && !Opens(then, now))
            {
                throw Refused(property, column, $"documents of column {before.Table.Name}.{before.Name} exist, and hold '{path[1..]}' under column id '{then.ColumnId}', which would not open under '{now.ColumnId}'. {KeepId(then)}");
            }
        }
    }

    private static EnvelopeConfigurationException Refused(IProperty property, IColumn column, string what)
        => new($"{property.DeclaringType.DisplayName()}.{property.Name} (column {column.Table.Name}.{column.Name}): {what}. Nothing was changed.")
        {
            Entity = property.DeclaringType.DisplayName(),
            Property = property.Name,
            ColumnId = property.FindEnvelope()?.ColumnId,
        };

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
