using System.Collections.Concurrent;
using System.Collections.Immutable;

namespace EfEnvelope.Keys;

/// <summary>
/// The rings of this process: one per configuration and place (data source, database, table), however often options are built. Also leads a key id to its ring, for cells
/// that EF buffered. Process-wide, thread safe.
/// </summary>
internal static class KeyRingRegistry
{
    private static readonly ConcurrentDictionary<RingPlace, KeyRing> Rings = new();
    private static readonly ConcurrentDictionary<Guid, ImmutableArray<KeyRing>> Holders = new();
    private static readonly ConcurrentDictionary<Guid, ImmutableArray<RingKey>> Transient = new();

    public static KeyRing GetOrAdd(RingPlace place, Func<KeyRing> create) => Rings.TryGetValue(place, out var ring) ? ring : Add(place, create);

    /// <summary>A ring that changed: what is held of it under other roles, search paths and host names is asked for before it is used again.</summary>
    public static void Outdate(KeyRing changed, Guid id, long epoch)
    {
        if (Rings.FirstOrDefault(r => ReferenceEquals(r.Value, changed)).Key is not { } place)
        {
            return;
        }

        foreach (var (other, ring) in Rings)
        {
            if (other != place && Equals(other.Configuration, place.Configuration))
            {
                ring.Outdate(id, epoch);
            }
        }
    }

    /// <summary>Drops what is held of every ring at a data source and database (but in memory: those end with their connection), because that database is dropped or made anew.</summary>
    public static void Invalidate(string dataSource, string database)
    {
        foreach (var (place, ring) in Rings)
        {
            if (place.DataSource == dataSource && place.Database == database && place.Connection is null)
            {
                ring.Invalidate();
            }
        }
    }

    /// <summary>Lets go of the rings of an in-memory database that ended with its connection.</summary>
    public static void Remove(object connection)
    {
        foreach (var (place, ring) in Rings)
        {
            if (ReferenceEquals(place.Connection, connection) && Rings.TryRemove(new KeyValuePair<RingPlace, KeyRing>(place, ring)))
            {
                ring.Invalidate();
            }
        }
    }

    /// <summary>The key with this id in whichever ring holds it; where several do, the strictest state wins.</summary>
    public static bool TryResolveForOpening(Guid id, out RingKey key)
    {
        key = null!;
        if (Holders.TryGetValue(id, out var rings))
        {
            foreach (var ring in rings)
            {
                if (!ring.TryGetHeld(id, out var held))
                {
                    continue;
                }

                if (key is null || held.State > key.State)
                {
                    key = held;
                }
            }
        }

        // Of a transaction's own keys those alone that somebody reads with: their context may have forgotten its others, or be about to.
        key ??= Transient.TryGetValue(id, out var transient) ? transient.FirstOrDefault(k => k.IsPinned)! : null!;
        return key is not null;
    }

    /// <summary>Why no ring opens with a key, where one knows.</summary>
    public static EnvelopeEncryptionException? FindError(Guid id)
    {
        EnvelopeEncryptionException? error = null;
        foreach (var ring in Rings.Values)
        {
            if (ring.FindError(id) is { } found && (error is null or KeyNotFoundInRingException))
            {
                error = found;
            }
        }

        return error;
    }

    /// <summary>Roles may be made by the hour (dynamic credentials): those of one place that have not been used for an hour let their keys go when another comes.</summary>
    private static KeyRing Add(RingPlace place, Func<KeyRing> create)
    {
        foreach (var (other, idle) in Rings)
        {
            // It stays listed: a context may hold it, and use it again.
            if (IsBeside(other, place) && idle.IsIdle)
            {
                idle.Invalidate();
            }
        }

        return Rings.GetOrAdd(place, _ => create());
    }

    private static bool IsBeside(RingPlace other, RingPlace place) => other.SearchPath != place.SearchPath && other with { SearchPath = place.SearchPath } == place;

    internal static void Add(Guid id, KeyRing ring)
        => Holders.AddOrUpdate(id, static (_, r) => r.Alone, static (_, rings, r) => rings.Contains(r) ? rings : rings.Add(r), ring);

    internal static void Remove(Guid id, KeyRing ring)
    {
        while (Holders.TryGetValue(id, out var rings))
        {
            var rest = rings.Remove(ring);
            if (rest.IsEmpty ? Holders.TryRemove(new KeyValuePair<Guid, ImmutableArray<KeyRing>>(id, rings)) : Holders.TryUpdate(id, rest, rings))
            {
                return;
            }
        }
    }

    internal static void AddTransient(RingKey key)
    {
        key.IsTransient = true;
        Transient.AddOrUpdate(key.Id, static (_, added) => [added], static (_, keys, added) => keys.Add(added), key);
    }

    internal static void RemoveTransient(RingKey key)
    {
        while (Transient.TryGetValue(key.Id, out var keys))
        {
            var rest = keys.Remove(key);
            if (rest.IsEmpty ? Transient.TryRemove(new KeyValuePair<Guid, ImmutableArray<RingKey>>(key.Id, keys)) : Transient.TryUpdate(key.Id, rest, keys))
            {
                return;
            }
        }
    }
}

/// <summary>Where a ring stands, and under which configuration it is used.</summary>
/// <param name="Configuration">The runtime.</param>
/// <param name="DataSource">Server or file.</param>
/// <param name="Database">Database.</param>
/// <param name="Table">The ring's table, with its schema where the model names one.</param>
/// <param name="SearchPath">What else chooses the schema; empty where nothing does.</param>
/// <param name="Connection">The connection of a database in memory.</param>
internal sealed record RingPlace(object Configuration, string DataSource, string Database, string Table, string SearchPath, object? Connection = null);
