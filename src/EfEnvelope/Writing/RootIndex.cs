using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>Finds the root row of an owned entry among what the context tracks, by key; the index is built once per save, when the first owned entry asks.</summary>
internal sealed class RootIndex(DbContext context)
{
    private Dictionary<OwnerKey, EntityEntry>? _owners;

    /// <summary>The root's entry; null when the context does not track it.</summary>
    public EntityEntry? Find(IUpdateEntry entry)
    {
        var current = entry.ToEntityEntry();
        while (current is not null && current.Metadata.FindOwnership() is { } ownership)
        {
            current = Owner(current, ownership);
        }

        return current;
    }

    private EntityEntry? Owner(EntityEntry owned, IForeignKey ownership)
    {
        var values = ownership.Properties.Select(p => owned.Property(p.Name).CurrentValue).ToArray();
        return Owners.GetValueOrDefault(new OwnerKey(ownership.PrincipalEntityType.GetRootType(), values));
    }

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
                    if (entry.Metadata.FindPrimaryKey() is { } key && HasOwned(entry.Metadata))
                    {
                        owners[new OwnerKey(entry.Metadata.GetRootType(), [.. key.Properties.Select(p => entry.Property(p.Name).CurrentValue)])] = entry;
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

    private static bool HasOwned(IEntityType type) => type.GetNavigations().Any(n => n.ForeignKey.IsOwnership && !n.IsOnDependent);

    private readonly struct OwnerKey(IEntityType type, object?[] values) : IEquatable<OwnerKey>
    {
        private readonly IEntityType _type = type;
        private readonly object?[] _values = values;

        public bool Equals(OwnerKey other) => _type == other._type && _values.AsSpan().SequenceEqual(other._values);

        public override bool Equals(object? obj) => obj is OwnerKey other && Equals(other);

        public override int GetHashCode()
        {
            var hash = default(HashCode);
            hash.Add(_type);
            foreach (var value in _values)
            {
                hash.Add(value);
            }

            return hash.ToHashCode();
        }
    }
}
