using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Scoping;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>Chooses the key of every row that a save writes encrypted cells of: the row decides. Awaits what is missing before EF renders a single value.</summary>
internal sealed class SavePreparation(DbContext context, EnvelopeSession session)
{
    /// <summary>Null when the save writes nothing encrypted.</summary>
    public async ValueTask<SavePlan?> PrepareAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken)
    {
        List<Row>? rows = null;
        RootIndex? roots = null;
        foreach (var entry in entries)
        {
            var info = EncryptedTypeInfo.Of(entry.EntityType);
            if (info.Writes(entry))
            {
                (rows ??= []).Add(Describe(entry, info, roots ??= new RootIndex(context)));
            }
        }

        if (rows is null)
        {
            return null;
        }

        var store = session.OpenStore();
        if (!store.IsTransient && session.TransientKeys.Count > 0 && context.Database.CurrentTransaction is null)
        {
            session.TransientKeys.Clear();
        }

        await ColumnRegistry.EnsureRegisteredAsync(session, store, cancellationToken).ConfigureAwait(false);
        await LoadRowIdsAsync(rows, cancellationToken).ConfigureAwait(false);
        return await AssignKeysAsync(rows, store, cancellationToken).ConfigureAwait(false);
    }

    private Row Describe(IUpdateEntry entry, EncryptedTypeInfo info, RootIndex roots)
    {
        var isRoot = !entry.EntityType.IsOwned();
        var root = isRoot ? null : roots.Find(entry);
        if (!isRoot && root is null && (info.Scope.PropertyName is not null || info.Scope.PerRow))
        {
            throw new MissingScopeException(
                $"{entry.EntityType.DisplayName()} is owned, and its owner, whose row chooses the data key, is not tracked by the context. Load or attach the owner. Nothing was written.")
            {
                Entity = entry.EntityType.DisplayName(),
            };
        }

        object? Value(IProperty property) => isRoot ? entry.GetCurrentValue(property) : root!.Property(property.Name).CurrentValue;
        var parent = RowScope.Parent(info, info.ScopeProperty is { } scopeProperty ? Value(scopeProperty) : null, info.Scope.IsAmbient ? session.AmbientScope : null);
        var rowId = info.RowIdProperty is { } rowIdProperty ? (Guid)(Value(rowIdProperty) ?? Guid.Empty) : Guid.Empty;
        var state = isRoot ? entry.EntityState : root?.State ?? entry.EntityState;
        return new Row(entry, root, info, parent, rowId, state == EntityState.Added);
    }

    /// <summary>Row ids that were not loaded (stubs that were attached, disconnected updates) are fetched first: they are immutable and name the row's keys.</summary>
    private async Task LoadRowIdsAsync(List<Row> rows, CancellationToken cancellationToken)
    {
        for (var i = 0; i < rows.Count; i++)
        {
            var row = rows[i];
            if (row.Info.RowIdProperty is { } property && row.RowId == Guid.Empty)
            {
                rows[i] = row with
                {
                    RowId = row.IsNew
                        ? throw new MissingScopeException($"{row.Info.Root.DisplayName()}.{property.Name} has no value on a new row. Nothing was written.") { Entity = row.Info.Root.DisplayName(), Property = property.Name }
                        : await RowIds.FetchAsync(context, row.Info.Root, property, p => row.Value(p), cancellationToken).ConfigureAwait(false),
                };
            }
        }
    }

    private async ValueTask<SavePlan> AssignKeysAsync(List<Row> rows, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var plan = new SavePlan();
        var ring = session.Ring;
        var existing = new HashSet<string>(StringComparer.Ordinal);
        var keys = new Dictionary<string, RingKey>(StringComparer.Ordinal);
        List<RowKeyDraft>? drafts = null;
        foreach (var row in rows)
        {
            if (!row.Info.Scope.PerRow || !row.IsNew)
            {
                existing.Add(row.Scope);
            }
            else if (!keys.ContainsKey(row.Scope))
            {
                // A retried attempt of the same save drafts again: the first draft was never committed.
                var draft = await ring.DraftRowKeyAsync(row.Scope, 1, store, session.TransientKeys, cancellationToken).ConfigureAwait(false);
                keys[row.Scope] = draft.Key;
                (drafts ??= []).Add(draft);
            }
        }

        foreach (var (scope, key) in await ring.GetForSealingAsync(existing, store, session.TransientKeys, cancellationToken).ConfigureAwait(false))
        {
            keys[scope] = key;
        }

        if (drafts is not null)
        {
            await AddDraftsAsync(plan, drafts, store, cancellationToken).ConfigureAwait(false);
        }

        foreach (var row in rows)
        {
            plan.Add(row.Entry, new SealingFrame(keys[row.Scope], row.BoundRowId()));
        }

        return plan;
    }

    private async Task AddDraftsAsync(SavePlan plan, List<RowKeyDraft> drafts, IKeyRingStore store, CancellationToken cancellationToken)
    {
        foreach (var draft in drafts)
        {
            session.TransientKeys.Add(draft.Key, seals: true);
        }

        if (session.HasSeparateRing)
        {
            await store.TryInsertAsync([.. drafts.Select(d => d.Entry)], cancellationToken).ConfigureAwait(false);
            return;
        }

        var adapter = context.GetService<IUpdateAdapterFactory>().CreateStandalone();
        var keyType = context.Model.FindEntityType(typeof(EnvelopeKeyRow))!;
        foreach (var draft in drafts)
        {
            var values = keyType.GetProperties().ToDictionary(p => p.Name, p => RelationalKeyRingStore.Value(draft.Entry, p.Name), StringComparer.Ordinal);
            var entry = adapter.CreateEntry(values, keyType);
            entry.EntityState = EntityState.Added;
            plan.RingEntries.Add(entry);
        }
    }

    private sealed record Row(IUpdateEntry Entry, EntityEntry? Root, EncryptedTypeInfo Info, string Parent, Guid RowId, bool IsNew)
    {
        public string Scope => Info.Scope.PerRow ? KeyScope.ForRow(RowId, Parent) : Parent;

        public object? Value(IProperty property) => Root is null ? Entry.GetCurrentValue(property) : Root.Property(property.Name).CurrentValue;

        /// <summary>The row id of row-bound columns: the primary key of the entry's own table row.</summary>
        public string? BoundRowId()
        {
            if (!EncryptedColumns.AnyRowBound(Entry.EntityType) || Entry.EntityType.FindPrimaryKey() is not { } key)
            {
                return null;
            }

            var parts = new object[key.Properties.Count];
            for (var i = 0; i < parts.Length; i++)
            {
                var property = key.Properties[i];
                parts[i] = RowScope.ProviderValue(property, Entry.GetCurrentValue(property)!);
            }

            return ScopeValue.RowId(parts);
        }
    }
}
