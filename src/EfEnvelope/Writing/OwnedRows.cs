using System.Data.Common;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>
/// Owned rows with a primary key of their own belong to whom their foreign key says, and are sealed under that owner's key. The database is asked whose they are: a graph that was not loaded may hang a row under another owner, and a change of
/// the foreign key gives it to one; cells that the save does not write, and rows that it owns, would stay under the former owner's key.
/// </summary>
internal static class OwnedRows
{
    private const int ChunkSize = 100;

    /// <returns>Of rows that are given to another owner with the same key: both owners, whose scopes are to be compared with the database's.</returns>
    /// <exception cref="MissingScopeException">A row is given to an owner whose row has another key.</exception>
    /// <exception cref="DbUpdateConcurrencyException">A row is gone, or belongs to another owner than the entities say.</exception>
    public static async Task<List<(IUpdateEntry Entry, EntityEntry Root, IUpdateEntry? Former, EncryptedTypeInfo Info)>> RequireAsync(DbContext context, IEnumerable<OwnedRow> rows, RootIndex roots, CancellationToken cancellationToken)
    {
        var moved = new List<(IUpdateEntry, EntityEntry, IUpdateEntry?, EncryptedTypeInfo)>();
        foreach (var group in rows.GroupBy(r => r.Owned.Metadata))
        {
            var info = EncryptedTypeInfo.Of(group.Key);
            var table = RowTable.Of(group.Key, info.OwnerKey, context.GetService<ISqlGenerationHelper>())[0];
            foreach (var chunk in group.Chunk(ChunkSize))
            {
                if (await CountAsync(context, table, chunk, static p => p.CurrentValue, cancellationToken).ConfigureAwait(false) == chunk.Length)
                {
                    continue;
                }

                foreach (var row in chunk)
                {
                    // One row was asked about just now.
                    if (chunk.Length > 1 && await CountAsync(context, table, [row], static p => p.CurrentValue, cancellationToken).ConfigureAwait(false) == 1)
                    {
                        continue;
                    }

                    if (!info.OwnerKey.Any(p => row.Owned.Property(p.Name).IsModified) || await CountAsync(context, table, [row], static p => p.OriginalValue, cancellationToken).ConfigureAwait(false) != 1)
                    {
                        throw new DbUpdateConcurrencyException(
                            $"{group.Key.DisplayName()} takes its data key from the row of its owner, but its row is gone, or belongs to another owner in the database than the tracked entities say. Load it with its owner instead of attaching it. Nothing was written.",
                            [row.Saved]);
                    }

                    moved.AddRange(RequireSameKey(row.Owned, info, roots).Where(o => o.State != EntityState.Added).Select(o => (row.Saved, o, (IUpdateEntry?)null, info)));
                }
            }
        }

        return moved;
    }

    private static EntityEntry[] RequireSameKey(EntityEntry entry, EncryptedTypeInfo info, RootIndex roots)
    {
        var owner = roots.Find(entry);
        var former = roots.FindFormerOwner(entry);
        if (owner is not null && former is not null
            && (ReferenceEquals(owner.Entity, former.Entity) || (!info.Scope.PerRow && info.ScopeProperty is { } chooser && chooser.GetValueComparer().Equals(owner.Property(chooser.Name).CurrentValue, former.Property(chooser.Name).CurrentValue))))
        {
            return [owner, former];
        }

        throw new MissingScopeException(
            $"{entry.Metadata.DisplayName()} is given to another owner, whose row has another data key{(former is null ? ", as far as can be told: its former owner is not tracked by the context" : "")}. Its encrypted values would open under neither. Remove it and add a new one with its values to the other owner{(former is null && !info.Scope.PerRow ? ", or load its former owner too" : "")}. Nothing was written.")
        {
            Entity = entry.Metadata.DisplayName(),
        };
    }

    private static Task<long> CountAsync(DbContext context, RowTable table, OwnedRow[] rows, Func<PropertyEntry, object?> owner, CancellationToken cancellationToken)
    {
        return table.CountAsync(context, rows, Condition, cancellationToken);

        string Condition(DbCommand command, OwnedRow row)
            => table.Condition(command, p => row.Owned.Property(p.Name) is var value && table.Properties.Contains(p) ? owner(value) : value.CurrentValue, table.Properties);
    }
}

/// <summary>An owned row whose owner the database is asked for.</summary>
/// <param name="Owned">The row, which the save may leave as it is.</param>
/// <param name="Saved">What the save writes: the row, or one that it owns.</param>
internal sealed record OwnedRow(EntityEntry Owned, IUpdateEntry Saved);
