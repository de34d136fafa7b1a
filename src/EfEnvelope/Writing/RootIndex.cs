using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>Finds the root row of an owned entry among what the context tracks, by the key that its owned rows refer to; the index is built once per save, when the first owned entry asks.</summary>
internal sealed class RootIndex(DbContext context, IEnumerable<IUpdateEntry> entries)
{
    private Dictionary<object, IUpdateEntry>? _formers;
    private Dictionary<OwnerKey, EntityEntry>? _owners;

    /// <summary>The root's entry; null when the context does not track it.</summary>
    public EntityEntry? Find(IUpdateEntry entry) => Root(entry.ToEntityEntry());

    /// <inheritdoc cref="Find(IUpdateEntry)" />
    public EntityEntry? Find(EntityEntry entry) => Root(entry);

    /// <summary>The root that an owned row, which is given to another owner, stood under before; null when the context does not track it.</summary>
    public EntityEntry? FindFormerOwner(EntityEntry entry)
        => Root(Owner(entry.Metadata.FindOwnership()!, p => entry.Property(p.Name).OriginalValue));

    /// <summary>The rows from an owned one up to its root that belong to their owner by a foreign key outside of their primary key, but for those that are inserted by this save.</summary>
    public void AddOwnedRows(IUpdateEntry entry, Dictionary<object, OwnedRow> rows)
    {
        var current = entry.ToEntityEntry();
        while (current is not null && current.Metadata.FindOwnership() is { } ownership)
        {
            if (current.State is EntityState.Unchanged or EntityState.Modified && EncryptedTypeInfo.Of(current.Metadata).OwnerKey.Count > 0)
            {
                rows.TryAdd(current.Entity, new OwnedRow(current, entry));
            }

            var owned = current;
            current = Owner(ownership, p => owned.Property(p.Name).CurrentValue);
        }
    }

    /// <summary>What the save removes under the root's key, where it adds the root in its place; null elsewhere.</summary>
    public IUpdateEntry? FindFormer(EntityEntry? root)
    {
        if (root is not { State: EntityState.Added })
        {
            return null;
        }

        _formers ??= entries.Where(e => e is { EntityState: EntityState.Added, SharedIdentityEntry: not null } && !e.EntityType.IsOwned()).ToDictionary(e => e.ToEntityEntry().Entity, e => e.SharedIdentityEntry!, ReferenceEqualityComparer.Instance);
        return _formers.GetValueOrDefault(root.Entity);
    }

    /// <summary>Whether the row of the removed part of a document is deleted, the document with it.</summary>
    public bool IsRowDeleted(IUpdateEntry part) => FindDocument(part).Owner is { State: EntityState.Deleted };

    /// <summary>Whether the removed part's document goes as a whole: its column becomes NULL. Of a collection other elements may be left.</summary>
    public bool IsDocumentDeleted(IUpdateEntry part) => FindDocument(part).Top is { State: EntityState.Deleted } top && top.Metadata.FindOwnership() is { IsUnique: true };

    /// <summary>The part that its document begins with, and the entity whose row holds that; null where the context does not track it.</summary>
    private (EntityEntry Top, EntityEntry? Owner) FindDocument(IUpdateEntry part)
    {
        var top = part.ToEntityEntry();
        while (true)
        {
            var owned = top;
            var owner = Owner(top.Metadata.FindOwnership()!, p => owned.Property(p.Name).CurrentValue);
            if (owner is null || !owner.Metadata.IsMappedToJson())
            {
                return (top, owner);
            }

            top = owner;
        }
    }

    private EntityEntry? Root(EntityEntry? current)
    {
        while (current is not null && current.Metadata.FindOwnership() is { } ownership)
        {
            var owned = current;
            current = Owner(ownership, p => owned.Property(p.Name).CurrentValue);
        }

        return current;
    }

    private EntityEntry? Owner(IForeignKey ownership, Func<IProperty, object?> value)
        => Owners.GetValueOrDefault(new OwnerKey(ownership.PrincipalKey, [.. ownership.Properties.Select(value)]));

    private Dictionary<OwnerKey, EntityEntry> Owners
    {
        get
        {
            if (_owners is not null)
            {
                return _owners;
            }

            var detect = context.ChangeTracker.AutoDetectChangesEnabled;
            context.ChangeTracker.AutoDetectChangesEnabled = false;
            try
            {
                var owners = new Dictionary<OwnerKey, EntityEntry>();
                foreach (var entry in context.ChangeTracker.Entries())
                {
                    foreach (var key in PrincipalKeys(entry.Metadata))
                    {
                        var owner = new OwnerKey(key, [.. key.Properties.Select(p => entry.Property(p.Name).CurrentValue)]);

                        // Where a row is removed and added again in one save, its new owned rows are the new one's.
                        if (entry.State != EntityState.Deleted || !owners.ContainsKey(owner))
                        {
                            owners[owner] = entry;
                        }
                    }
                }

                return _owners = owners;
            }
            finally
            {
                context.ChangeTracker.AutoDetectChangesEnabled = detect;
            }
        }
    }

    /// <summary>The primary key, or an alternate one that an ownership is declared by.</summary>
    private static IEnumerable<IKey> PrincipalKeys(IEntityType type)
        => type.GetNavigations().Where(n => n.ForeignKey.IsOwnership && !n.IsOnDependent).Select(n => n.ForeignKey.PrincipalKey).Distinct();

    private readonly struct OwnerKey(IKey key, object?[] values) : IEquatable<OwnerKey>
    {
        private readonly IKey _key = key;
        private readonly object?[] _values = values;

        public bool Equals(OwnerKey other)
        {
            if (_key != other._key)
            {
                return false;
            }

            for (var i = 0; i < _values.Length; i++)
            {
                if (!_key.Properties[i].GetKeyValueComparer().Equals(_values[i], other._values[i]))
                {
                    return false;
                }
            }

            return true;
        }

        public override bool Equals(object? obj) => obj is OwnerKey other && Equals(other);

        /// <summary>As EF compares keys: binary ones by what they hold, others by the application's own comparer.</summary>
        public override int GetHashCode()
        {
            var hash = default(HashCode);
            hash.Add(_key);
            for (var i = 0; i < _values.Length; i++)
            {
                hash.Add(_values[i] is { } value ? _key.Properties[i].GetKeyValueComparer().GetHashCode(value) : 0);
            }

            return hash.ToHashCode();
        }
    }
}
