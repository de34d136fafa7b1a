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
/// Asks the database whether rows are whose their entities say, before cells are written into tables that do not say it themselves: a stub may have been attached with another
/// tenant, and its cells would open nowhere. On the context's own connection and transaction; one query for a hundred rows.
/// </summary>
internal static class StoredScopes
{
    private const int ChunkSize = 100;

    /// <summary>The row id that the row has in the database as far as the entry knows; empty where it does not.</summary>
    public static Guid RowId(IUpdateEntry entry, IProperty property)
        => (Guid)((entry.CanHaveOriginalValue(property) ? entry.GetOriginalValue(property) : entry.GetCurrentValue(property)) ?? Guid.Empty);

    /// <param name="context">The context.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="plan">Knows the row ids that were fetched; null where none was yet.</param>
    /// <param name="cancellationToken">Cancels the question.</param>
    /// <exception cref="DbUpdateConcurrencyException">A row is gone, or of another tenant, subject or row id.</exception>
    public static async Task RequireAsync(DbContext context, IReadOnlyCollection<(IUpdateEntry Entry, EntityEntry Root, IUpdateEntry? Former, EncryptedTypeInfo Info)> rows, SavePlan? plan, CancellationToken cancellationToken)
    {
        foreach (var group in rows.DistinctBy(r => r.Root.Entity, ReferenceEqualityComparer.Instance).GroupBy(r => r.Root.Metadata))
        {
            foreach (var table in RowTable.Of(group.Key, group.First().Info.Choosers, context.GetService<ISqlGenerationHelper>()))
            {
                foreach (var chunk in group.Chunk(ChunkSize))
                {
                    if (await CountAsync(context, table, chunk, plan, cancellationToken).ConfigureAwait(false) != chunk.Length)
                    {
                        var info = chunk[0].Info;
                        throw new DbUpdateConcurrencyException(
                            $"{chunk[0].Entry.EntityType.DisplayName()} takes its data key from a row of {info.Root.DisplayName()}, but that row is gone, or has another {string.Join(" or ", info.Choosers.Select(c => c.Name))} in the database than the tracked entity says. Load it instead of attaching it. Nothing was written.",
                            [.. chunk.Select(r => r.Entry)]);
                    }
                }
            }
        }
    }

    private static Task<long> CountAsync(DbContext context, RowTable table, (IUpdateEntry Entry, EntityEntry Root, IUpdateEntry? Former, EncryptedTypeInfo Info)[] rows, SavePlan? plan, CancellationToken cancellationToken)
    {
        return table.CountAsync(context, rows, Condition, cancellationToken);

        string Condition(DbCommand command, (IUpdateEntry Entry, EntityEntry Root, IUpdateEntry? Former, EncryptedTypeInfo Info) row)
        {
            // A row that a new entity takes over is still whose the removed one says.
            object? Known(IProperty property) => row.Former is { } former ? former.GetOriginalValue(property) : row.Root.Property(property.Name).CurrentValue;
            object? Value(IProperty property) => property == row.Info.RowIdProperty && plan?.FindRowId(row.Root.Entity) is { } fetched ? fetched : Known(property);

            // A row id that was not loaded is fetched from this very row.
            return table.Condition(command, Value, table.Properties.Where(p => p != row.Info.RowIdProperty || Value(p) is not Guid id || id != Guid.Empty));
        }
    }
}
