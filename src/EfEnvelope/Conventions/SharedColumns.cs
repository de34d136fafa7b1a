using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Conventions;

/// <summary>
/// One column id is one column (G3), and one column is declared in one way: refuses two columns of one id, whose values would open in each other, and a column that one property encrypts and another does not, or differently.
/// </summary>
internal sealed class SharedColumns
{
    private readonly Dictionary<string, List<IMutableProperty>> _byId = new(StringComparer.Ordinal);
    private readonly Dictionary<(StoreObjectIdentifier Table, string Name), IMutableProperty> _byColumn = [];

    /// <summary>Takes up an encrypted property under its column id.</summary>
    public void AddId(IMutableProperty property, string columnId)
    {
        if (!_byId.TryGetValue(columnId, out var known))
        {
            _byId[columnId] = known = [];
        }

        if (known.Find(other => !SameColumn(other, property)) is { } other)
        {
            throw EncryptedPropertyValidator.Error(
                property,
                $"has column id '{columnId}', which {other.DeclaringType.DisplayName()}.{other.Name} has already. Give one of them another: [Encrypted(ColumnId = \"...\")] or IsEncrypted(e => e.HasColumnId(\"...\"))");
        }

        known.Add(property);
    }

    /// <summary>
    /// Takes up the table columns of an encrypted property: others that share them (table splitting, siblings of a hierarchy) must declare the same, or one could not open what the other sealed.
    /// Only while the model is finalized: until then, siblings of a hierarchy still have one column name.
    /// </summary>
    public void AddColumns(IMutableProperty property, string token)
    {
        foreach (var column in Columns(property))
        {
            if (_byColumn.TryAdd(column, property) || _byColumn[column] is not { } other)
            {
                continue;
            }

            if (ScopeDeclaration.OwningRoot(property.DeclaringType) != ScopeDeclaration.OwningRoot(other.DeclaringType))
            {
                throw EncryptedPropertyValidator.Error(
                    property,
                    $"shares column {column.Name} of table {column.Table.Name} with {other.DeclaringType.DisplayName()}.{other.Name} of another entity of the same row: each would seal the value, and EF finds two envelopes of one value different. Map the column in one of them only");
            }

            if (other.FindAnnotation(EnvelopeAnnotationNames.Column)?.Value is string otherToken && otherToken != token)
            {
                throw EncryptedPropertyValidator.Error(
                    property,
                    $"shares column {column.Name} of table {column.Table.Name} with {other.DeclaringType.DisplayName()}.{other.Name}, but is declared differently (column id, data key, padding, row binding or armour). Declare both alike: [Encrypted(ColumnId = \"{ColumnDeclaration.Of(otherToken).ColumnId}\")]");
            }
        }
    }

    /// <summary>A property that is not encrypted, on an encrypted one's column, would put plaintext where every reader, census and job expects envelopes.</summary>
    public void RefusePlain(IEnumerable<IMutableTypeBase> types)
    {
        if (_byColumn.Count == 0)
        {
            return;
        }

        foreach (var type in types)
        {
            foreach (var plain in type.GetDeclaredProperties().Where(p => p.FindAnnotation(EnvelopeAnnotationNames.Column) is null))
            {
                foreach (var column in Columns(plain))
                {
                    if (_byColumn.TryGetValue(column, out var encrypted))
                    {
                        throw EncryptedPropertyValidator.Error(
                            encrypted,
                            $"shares column {column.Name} of table {column.Table.Name} with {plain.DeclaringType.DisplayName()}.{plain.Name}, which is not encrypted: plaintext would stand among its envelopes. Encrypt both alike ([Encrypted(ColumnId = \"{encrypted.FindEnvelope()!.ColumnId}\")]), or give one of them a column of its own (HasColumnName(\"...\"))");
                    }
                }
            }

            RefusePlain(type.GetDeclaredComplexProperties().Select(c => c.ComplexType));
        }
    }

    /// <summary>A former id that another column has, or had, would let values of that column open in this one.</summary>
    public void RefuseForeignFormerIds()
    {
        var former = new Dictionary<string, List<IMutableProperty>>(StringComparer.Ordinal);
        foreach (var property in _byId.Values.SelectMany(properties => properties))
        {
            foreach (var id in EncryptionDeclaration.Of(property).FormerColumnIds)
            {
                if (!former.TryGetValue(id, out var owners))
                {
                    former[id] = owners = [.. _byId.GetValueOrDefault(id, [])];
                }

                if (owners.Find(owner => owner != property && !SameColumn(owner, property)) is { } other)
                {
                    throw EncryptedPropertyValidator.Error(
                        property, $"names '{id}' as a former column id, which is or was {other.DeclaringType.DisplayName()}.{other.Name}'s: values of that column would open in this one. Declare it for one of them only");
                }

                owners.Add(property);
            }
        }
    }

    /// <summary>Two properties may share a column id only when they share the table column, when one of them reads it through a view or query, or when one keeps the other's former values.</summary>
    private static bool SameColumn(IMutableProperty one, IMutableProperty other)
        => ReadsOnly(one) || ReadsOnly(other) || HistoryDeclaration.Related(one, other) || Columns(one).Intersect(Columns(other)).Any();

    private static bool ReadsOnly(IMutableProperty property)
        => !HasTable(property.DeclaringType is IMutableComplexType complex ? complex.ContainingEntityType : (IMutableEntityType)property.DeclaringType);

    /// <summary>Whether a table holds the type's rows, or those of a derived one: an abstract base of tables for each type has none of its own.</summary>
    private static bool HasTable(IReadOnlyEntityType type)
        => type.GetDerivedTypesInclusive().Any(t => t.GetTableName() is not null)
            || (type.FindOwnership() is { } ownership && type.GetViewName() is null && type.GetSqlQuery() is null && type.GetFunctionName() is null && HasTable(ownership.PrincipalEntityType));

    /// <summary>The table columns that a property is mapped to; none for members of JSON documents and for views.</summary>
    private static List<(StoreObjectIdentifier Table, string Name)> Columns(IMutableProperty property)
        => EncryptedModel.IsInJson(property.DeclaringType)
            ? []
            : [.. property.GetMappedStoreObjects(StoreObjectType.Table).Select(t => (t, property.GetColumnName(t))).Where(c => c.Item2 is not null).Select(c => (c.t, c.Item2!))];
}
