using System.Runtime.CompilerServices;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Scoping;

/// <summary>What of an entity type is encrypted; computed once per type of a finalized model.</summary>
internal sealed class EncryptedTypeInfo
{
    private static readonly ConditionalWeakTable<IEntityType, EncryptedTypeInfo> Infos = [];

    private readonly IProperty[] _columns;
    private readonly IComplexProperty[] _documents;
    private readonly IProperty[] _besides;
    private readonly IProperty[] _owner;
    private readonly bool _documentBesides;
    private readonly bool _byProcedure;
    private readonly bool _holdsCells;
    private readonly bool _boundToKey;

    private EncryptedTypeInfo(IEntityType entityType)
    {
        _columns = [.. entityType.GetFlattenedProperties().Where(p => p.FindEnvelope() is not null)];
        InJsonDocument = entityType.IsMappedToJson() && HoldsCells(DocumentRoot(entityType));
        _documents = [.. Documents(entityType)];
        Scope = entityType.GetScope();
        Root = (IEntityType)ScopeDeclaration.OwningRoot(entityType);
        Choosers = [.. new[] { ScopeProperty, RowIdProperty }.OfType<IProperty>()];
        var chosen = Choosers.SelectMany(Tables).ToHashSet();
        _besides = Choosers.Count == 0 ? [] : [.. _columns.Where(c => Tables(c).Any() && !Tables(c).Any(chosen.Contains))];
        _byProcedure = Choosers.Count > 0 && entityType.GetUpdateStoredProcedure() is not null;
        _holdsCells = HoldsCells(entityType);
        _owner = Choosers.Count > 0 && _holdsCells && entityType.FindOwnership() is { } ownership ? [.. ownership.Properties.Where(p => !p.IsKey())] : [];
        HasOwnerKeys = _owner.Length > 0 || (Choosers.Count > 0 && _holdsCells && entityType.FindOwnership() is { PrincipalEntityType: var owner } && Of(owner).HasOwnerKeys);
        _boundToKey = entityType.GetDerivedTypesInclusive().SelectMany(t => t.GetFlattenedProperties()).Any(p => p.FindEnvelope() is { RowBound: true });
        _documentBesides = Choosers.Count > 0 && (InJsonDocument || HasJsonDocument) && entityType.GetTableMappings().Any(m => !chosen.Contains(m.Table));
    }

    /// <summary>The root's properties that name the row's key: tenant or subject, and row id.</summary>
    public IReadOnlyList<IProperty> Choosers { get; }

    /// <summary>Whether it stands in a JSON document with encrypted members, which is rendered as a whole.</summary>
    public bool InJsonDocument { get; }

    /// <summary>Whether complex properties of it are JSON documents with encrypted members.</summary>
    public bool HasJsonDocument => _documents.Length > 0;

    public ScopeDeclaration Scope { get; }

    public IEntityType Root { get; }

    /// <summary>The root's property that names the tenant or subject.</summary>
    public IProperty? ScopeProperty => Scope.PropertyName is { } name ? Root.FindProperty(name) : null;

    public IProperty? RowIdProperty => Scope.RowIdProperty is { } name ? Root.FindProperty(name) : null;

    public static EncryptedTypeInfo Of(IEntityType entityType) => Infos.GetValue(entityType, static type => new EncryptedTypeInfo(type));

    /// <summary>Whether saving the entry writes encrypted cells, or removes parts of a document that may hold some.</summary>
    public bool Writes(IUpdateEntry entry)
    {
        if (InJsonDocument)
        {
            return entry.EntityState is EntityState.Added or EntityState.Modified or EntityState.Deleted;
        }

        switch (entry.EntityState)
        {
            case EntityState.Added:
                // A row with keys of its own is born with the first, also where its cells come later, or stand in other tables.
                return _columns.Length > 0 || HasJsonDocument || (_holdsCells && HasRowId(entry));
            case EntityState.Modified:
                return WritesCell(entry, isAdded: false, isNullOne: true);
            default:
                return false;
        }
    }

    /// <summary>Whether one of the cells that it writes holds a value, to be sealed: NULL needs no key. A row that gets a key of its own has it from its birth; one that takes another's place is compared with that.</summary>
    public bool Seals(IUpdateEntry entry)
    {
        var isAdded = entry.EntityState == EntityState.Added;
        return InJsonDocument || (isAdded && (entry.SharedIdentityEntry is not null || HasRowId(entry))) || WritesCell(entry, isAdded, isNullOne: false);
    }

    private bool WritesCell(IUpdateEntry entry, bool isAdded, bool isNullOne)
    {
        foreach (var column in _columns)
        {
            if ((isAdded || entry.IsModified(column)) && (isNullOne || entry.GetCurrentValue(column) is not null))
            {
                return true;
            }
        }

        foreach (var document in _documents)
        {
            if ((isAdded || entry.IsModified(document)) && (isNullOne || document.DeclaringType is not IEntityType || entry.GetCurrentValue(document) is not null))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether the entry is inserted with a row id: each row of a table whose rows have keys of their own, also of a type that holds no cells.</summary>
    public bool GetsRowId(IUpdateEntry entry) => entry.EntityState == EntityState.Added && HasRowId(entry);

    /// <summary>The foreign key by which an owned row with cells, or whose owned rows hold some, belongs to its owner, where it is no part of its primary key; else empty.</summary>
    public IReadOnlyList<IProperty> OwnerKey => _owner;

    /// <summary>Whether it, or what owns it, belongs to its owner by such a foreign key: what is tracked of that may not be what the database says.</summary>
    public bool HasOwnerKeys { get; }

    /// <summary>Whether the entry's foreign key is written: its row may be given to another owner.</summary>
    public bool ChangesOwner(IUpdateEntry entry) => _owner.Length > 0 && entry.EntityState == EntityState.Modified && Array.Exists(_owner, entry.IsModified);

    /// <summary>Whether values of the row, also of types derived from its own, are bound to the property as a part of the primary key.</summary>
    public bool IsBoundTo(IProperty property) => _boundToKey && property.IsPrimaryKey();

    /// <summary>Whether the property says which owner's row it is, of a type in another table, and thereby whose data key its cells have, or those of what it owns.</summary>
    public bool IsOwnedBy(IProperty property)
        => Choosers.Count > 0 && _holdsCells && property.DeclaringType is IEntityType type && type.FindOwnership() is { } ownership
            && ownership.Properties.Contains(property)
            && !Tables(property).Any(t => t.EntityTypeMappings.Any(m => m.TypeBase == ownership.PrincipalEntityType));

    private bool HasRowId(IUpdateEntry entry) => Scope.PerRow && !entry.EntityType.IsOwned();

    /// <summary>
    /// Whether saving the entry writes encrypted cells by a statement that cannot ask whose row it is: into a table that does not say so (owned types in tables of their own, derived ones, split ones), or by a stored procedure.
    /// </summary>
    public bool WritesBesides(IUpdateEntry entry)
        => (_byProcedure && entry.EntityState == EntityState.Modified)
            || (_documentBesides && entry.EntityState is not (EntityState.Unchanged or EntityState.Detached))
            || _besides.Any(c => entry.EntityState == EntityState.Added || (entry.EntityState == EntityState.Modified && entry.IsModified(c)));

    private static bool HoldsCells(IEntityType entityType)
        => entityType.GetFlattenedProperties().Any(p => p.FindEnvelope() is not null)
            || Documents(entityType).Any()
            || entityType.GetNavigations().Any(n => n.ForeignKey.IsOwnership && !n.IsOnDependent && HoldsCells(n.TargetEntityType));

    private static IEnumerable<ITableBase> Tables(IProperty property) => property.GetTableColumnMappings().Select(m => m.Column.Table);

    /// <summary>The type that its document is of: several changed parts of one are rendered with whatever stands between them.</summary>
    private static IEntityType DocumentRoot(IEntityType entityType)
        => entityType.FindOwnership() is { PrincipalEntityType: var owner } && owner.IsMappedToJson() ? DocumentRoot(owner) : entityType;

    /// <summary>The complex properties that are whole JSON documents with encrypted members.</summary>
    private static IEnumerable<IComplexProperty> Documents(ITypeBase type)
        => type.GetComplexProperties().SelectMany(c => !c.ComplexType.IsMappedToJson() ? Documents(c.ComplexType) : Any(c.ComplexType) ? [c] : []);

    private static bool Any(ITypeBase type)
        => type.GetProperties().Any(p => p.FindEnvelope() is not null) || type.GetComplexProperties().Any(c => Any(c.ComplexType));
}
