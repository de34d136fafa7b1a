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
    /// <summary>Null when the save seals nothing: it writes nothing encrypted, or NULL alone.</summary>
    public async ValueTask<SavePlan?> PrepareAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken)
    {
        List<Row>? rows = null;
        Dictionary<object, OwnedRow>? owned = null;
        RootIndex? roots = null;
        foreach (var entry in entries)
        {
            var info = EncryptedTypeInfo.Of(entry.EntityType);
            var isRemoved = entry.EntityState == EntityState.Deleted;
            var writes = info.Writes(entry) && !(isRemoved && (roots ??= new RootIndex(context, entries)).IsRowDeleted(entry));
            if (info.HasOwnerKeys && (info.ChangesOwner(entry) || writes))
            {
                (roots ??= new RootIndex(context, entries)).AddOwnedRows(entry, owned ??= new(ReferenceEqualityComparer.Instance));
            }

            if (writes)
            {
                roots ??= new RootIndex(context, entries);
                (rows ??= []).Add(Describe(entry, info, roots) with { Seals = info.Seals(entry) && !(isRemoved && roots.IsDocumentDeleted(entry)) });
            }
            else if (info.GetsRowId(entry) && (entry.SharedIdentityEntry is not null || (Guid)(entry.GetCurrentValue(info.RowIdProperty!) ?? Guid.Empty) == Guid.Empty))
            {
                entry.ToEntityEntry().Property(info.RowIdProperty!.Name).CurrentValue = await FindRowIdAsync(entry, info.RowIdProperty, cancellationToken).ConfigureAwait(false) ?? Guid.NewGuid();
            }
        }

        var moved = owned is null ? [] : await OwnedRows.RequireAsync(context, owned.Values, roots!, cancellationToken).ConfigureAwait(false);
        if (rows is null)
        {
            await StoredScopes.RequireAsync(context, moved, null, cancellationToken).ConfigureAwait(false);
            return null;
        }

        var store = session.OpenStore();
        var sealing = rows.TrueForAll(static r => r.Seals) ? rows : rows.FindAll(static r => r.Seals);
        HashSet<Guid> made = [];
        if (sealing.Count > 0)
        {
            session.TransientKeys.ForgetEnded();
            await ColumnRegistry.CheckAsync(session, store, TablesOf(sealing), cancellationToken).ConfigureAwait(false);
            made = await AssignRowIdsAsync(sealing, cancellationToken).ConfigureAwait(false);
        }

        var besides = rows.Where(r => !r.IsNew && r.Info.WritesBesides(r.Entry)).Select(r => (r.Entry, r.RootEntry, r.Former, r.Info)).Concat(moved).ToList();
        if (besides.Count > 0)
        {
            await StoredScopes.RequireAsync(context, besides, null, cancellationToken).ConfigureAwait(false);
        }

        if (sealing.Count == 0)
        {
            return null;
        }

        var assigning = AssignKeysAsync(sealing, made, store, cancellationToken);
        var isAtOnce = assigning.IsCompleted;
        var plan = await assigning.ConfigureAwait(false);
        if (besides.Count > 0 && !isAtOnce)
        {
            // The key service may have taken its time, and a row have been deleted and made anew.
            try
            {
                await StoredScopes.RequireAsync(context, besides, plan, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                plan.Dispose();
                throw;
            }
        }

        return plan;
    }

    private static IEnumerable<string> TablesOf(List<Row> rows) => rows.Select(r => r.Entry.EntityType).Distinct().SelectMany(ColumnRegistry.TablesOf);

    /// <summary>The row id of the row that the entry takes the place of: cells that others left in the row, or own, are under it. Null where it has none, or is new.</summary>
    private async Task<Guid?> FindRowIdAsync(IUpdateEntry entry, IProperty property, CancellationToken cancellationToken)
    {
        if (entry.SharedIdentityEntry is not { } former)
        {
            return null;
        }

        var known = StoredScopes.RowId(former, property);
        return known != Guid.Empty ? known : await RowIds.FindAsync(context, former.EntityType, property, former.GetOriginalValue, cancellationToken).ConfigureAwait(false);
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
        if (info.ScopeProperty is { } chooser && (isRoot ? entry.HasTemporaryValue(chooser) : root!.Property(chooser.Name).IsTemporary))
        {
            throw Temporary(info.Root, chooser, "chooses the row's data key");
        }

        var parent = RowScope.Parent(info, info.ScopeProperty is { } scopeProperty ? Value(scopeProperty) : null, info.Scope.IsAmbient ? session.AmbientScope : null);
        var state = isRoot ? entry.EntityState : root?.State ?? entry.EntityState;
        var former = isRoot ? entry.SharedIdentityEntry : roots.FindFormer(root);
        if (former is not null && info.ScopeProperty is { } formerChooser && RowScope.IsNone(formerChooser, former.GetOriginalValue(formerChooser)))
        {
            throw new MissingScopeException(
                $"{info.Root.DisplayName()}.{formerChooser.Name} chooses the row's data key, but the entity that is removed, and whose place another with the same key takes in this save, does not say it: it cannot be told whose row would be overwritten. Load that entity, or set its {formerChooser.Name}. Nothing was written.")
            {
                Entity = info.Root.DisplayName(),
                Property = formerChooser.Name,
            };
        }

        return new Row(entry, root, info, parent, Guid.Empty, state == EntityState.Added && !(isRoot && former is not null), former);
    }

    /// <summary>
    /// New rows get a random row id. Row ids that were not loaded (stubs that were attached, disconnected updates) are fetched first: they are immutable and name the row's keys.
    /// </summary>
    /// <returns>The random ones, of which no key can be in the ring.</returns>
    private async Task<HashSet<Guid>> AssignRowIdsAsync(List<Row> rows, CancellationToken cancellationToken)
    {
        var made = new HashSet<Guid>();
        for (var i = 0; i < rows.Count; i++)
        {
            var row = rows[i];
            if (row.Info.RowIdProperty is not { } property)
            {
                continue;
            }

            // Removed and added again in one save, a row is updated: it keeps its row id.
            var rowId = row.Former is { } former ? StoredScopes.RowId(former, property) : (Guid)(row.Value(property) ?? Guid.Empty);
            if (rowId != Guid.Empty && !row.IsNew && row.Root is null && row.Former is null && StoredScopes.RowId(row.Entry, property) != rowId)
            {
                throw new MissingScopeException(
                    $"{row.Info.Root.DisplayName()}.{property.Name} names the row's data keys and is immutable, but the entity's was changed. Nothing was written.")
                {
                    Entity = row.Info.Root.DisplayName(),
                    Property = property.Name,
                };
            }

            if (rowId == Guid.Empty)
            {
                if (row.IsNew && row.Former is null)
                {
                    rowId = Guid.NewGuid();
                    row.RootEntry.Property(property.Name).CurrentValue = rowId;
                    made.Add(rowId);
                }
                else
                {
                    rowId = await RowIds.FetchAsync(context, row.RootEntry.Metadata, property, row.Value, cancellationToken).ConfigureAwait(false);
                    row = row with { IsFetched = true };
                }
            }

            if (row.Former is not null)
            {
                row.RootEntry.Property(property.Name).CurrentValue = rowId;
            }

            rows[i] = row with { RowId = rowId };
        }

        return made;
    }

    private async ValueTask<SavePlan> AssignKeysAsync(List<Row> rows, HashSet<Guid> made, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var plan = new SavePlan(new SealingLease(session.Ring, store.IsTransient));
        try
        {
            await AssignKeysAsync(plan, rows, made, store, cancellationToken).ConfigureAwait(false);

            // Not before the keys are had: a save that gets none leaves nothing behind.
            await ColumnRegistry.EnsureRegisteredAsync(session, store, TablesOf(rows), cancellationToken).ConfigureAwait(false);
            return plan;
        }
        catch
        {
            plan.Dispose();
            throw;
        }
    }

    private async ValueTask AssignKeysAsync(SavePlan plan, List<Row> rows, HashSet<Guid> made, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var ring = session.Ring;
        var existing = new HashSet<string>(StringComparer.Ordinal);
        var keys = new Dictionary<string, RingKey>(StringComparer.Ordinal);
        List<RowKeyDraft>? drafts = null;
        var present = await FindPresentAsync(rows, made, cancellationToken).ConfigureAwait(false);
        foreach (var row in rows)
        {
            if (!row.MayLackKey || present.Contains(row.Scope))
            {
                existing.Add(row.Scope);
            }
            else if (!keys.ContainsKey(row.Scope))
            {
                // A retried attempt of the same save drafts again: the first draft was never committed.
                var draft = await ring.DraftRowKeyAsync(row.Scope, 1, store, session.TransientKeys, cancellationToken).ConfigureAwait(false);
                session.TransientKeys.AddDraft(draft.Key);
                keys[row.Scope] = draft.Key;
                (drafts ??= []).Add(draft);
            }
        }

        foreach (var (scope, key) in await ring.GetForSealingAsync(existing, store, session.TransientKeys, plan.Lease.Keys, cancellationToken).ConfigureAwait(false))
        {
            keys[scope] = key;
        }

        if (drafts is not null)
        {
            await AddDraftsAsync(plan, drafts, keys, store, cancellationToken).ConfigureAwait(false);
        }

        foreach (var row in rows)
        {
            plan.Add(row.Entry, new SealingFrame(keys[row.Scope], row.BoundRowId()));
            if (row.IsFetched)
            {
                plan.AddRowId(row.RootEntry.Entity, row.RowId);
            }
        }
    }

    /// <summary>
    /// Which rows that are inserted have a key already: their row id was not made now, but is the replaced row's, the application's own, or an earlier attempt's. The context's own transaction is asked, which may have made it;
    /// a ring in a database of its own is in none.
    /// </summary>
    private async Task<HashSet<string>> FindPresentAsync(List<Row> rows, HashSet<Guid> made, CancellationToken cancellationToken)
    {
        var scopes = rows.Where(r => r.MayLackKey && !made.Contains(r.RowId)).Select(r => r.Scope).ToHashSet(StringComparer.Ordinal);
        if (scopes.Count == 0)
        {
            return scopes;
        }

        if (session.HasSeparateRing)
        {
            return await KeyRing.FindRowScopesAsync(scopes, session.OpenStore(), cancellationToken).ConfigureAwait(false);
        }

        await context.Database.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await KeyRing.FindRowScopesAsync(scopes, session.OpenOwnStore(), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await context.Database.CloseConnectionAsync().ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Whether ring rows that are saved with their rows commit with them. Not with a ring in a database of its own, nor where EF begins no transactions: each batch then commits by itself, and a row's may without its key's.
    /// </summary>
    private bool IsOneTransaction => !session.HasSeparateRing && (session.TransientKeys.InTransaction || !session.IsWithoutTransactions);

    private async Task AddDraftsAsync(SavePlan plan, List<RowKeyDraft> drafts, Dictionary<string, RingKey> keys, IKeyRingStore store, CancellationToken cancellationToken)
    {
        foreach (var draft in drafts)
        {
            plan.Lease.Keys.TryPin(draft.Key, out _);
        }

        if (!IsOneTransaction)
        {
            // Committed beforehand, as no transaction holds both them and the rows. An earlier attempt of this save may have left a key for the row: that one is used.
            if (await store.TryInsertAsync([.. drafts.Select(d => d.Entry)], cancellationToken).ConfigureAwait(false) < drafts.Count)
            {
                var scopes = drafts.Select(d => d.Entry.Scope).ToList();
                foreach (var (scope, key) in await session.Ring.GetForSealingAsync(scopes, store, session.TransientKeys, plan.Lease.Keys, cancellationToken).ConfigureAwait(false))
                {
                    keys[scope] = key;
                }
            }

            return;
        }

        var adapter = context.GetService<IUpdateAdapterFactory>().CreateStandalone();
        var keyType = context.Model.FindEntityType(typeof(EnvelopeKeyRow))!;
        foreach (var draft in drafts)
        {
            var values = keyType.GetProperties().ToDictionary(p => p.Name, p => KeyRows.Value(draft.Entry, p.Name), StringComparer.Ordinal);
            var entry = adapter.CreateEntry(values, keyType);
            entry.EntityState = EntityState.Added;
            plan.RingEntries.Add(entry);
        }
    }

    /// <summary>A foreign key to a row of the same save whose key the store generates: sealed under it, the row would not open once it has its real value.</summary>
    private static MissingScopeException Temporary(IEntityType type, IProperty property, string does)
        => new($"{type.DisplayName()}.{property.Name} {does}, but the database makes its value only when the row that it refers to is inserted. Save that row first (in the same transaction), or use a key that the application sets. Nothing was written.")
        {
            Entity = type.DisplayName(),
            Property = property.Name,
        };

    private sealed record Row(IUpdateEntry Entry, EntityEntry? Root, EncryptedTypeInfo Info, string Parent, Guid RowId, bool IsNew, IUpdateEntry? Former)
    {
        public string Scope => Info.Scope.PerRow ? KeyScope.ForRow(RowId, Parent) : Parent;

        /// <summary>Whether it writes a value, for which it needs a key.</summary>
        public bool Seals { get; init; } = true;

        /// <summary>Whether the row id was asked of the database: the entity does not know it.</summary>
        public bool IsFetched { get; init; }

        /// <summary>Whether it is inserted, or updated in the place of a removed one, perhaps under another tenant.</summary>
        public bool MayLackKey => Info.Scope.PerRow && (IsNew || Former is not null);

        public EntityEntry RootEntry => Root ?? Entry.ToEntityEntry();

        public object? Value(IProperty property) => Root is null ? Entry.GetCurrentValue(property) : Root.Property(property.Name).CurrentValue;

        /// <summary>The row id of row-bound columns: the primary key of the entry's own table row.</summary>
        public string? BoundRowId()
        {
            if ((!EncryptedColumns.AnyRowBound(Entry.EntityType) && !(Former is not null && EncryptedColumns.AnyRowBound(Former.EntityType))) || Entry.EntityType.FindPrimaryKey() is not { } key)
            {
                return null;
            }

            var parts = new object[key.Properties.Count];
            for (var i = 0; i < parts.Length; i++)
            {
                var property = key.Properties[i];
                if (Entry.HasTemporaryValue(property))
                {
                    throw Temporary(Entry.EntityType, property, "binds the row's values to it");
                }

                parts[i] = RowScope.ProviderValue(property, Entry.GetCurrentValue(property)!);
            }

            return ScopeValue.RowId(parts);
        }
    }
}
