using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// The ring's rows, over one connection source: normally a connection of the ring's own (own pool, never in the user's transaction), where the
/// provider leaves no other way the user's connection. Every write commits before its task completes, unless <see cref="IsTransient"/>.
/// Trouble of the database surfaces as <see cref="KeyUnavailableException"/>, a missing table as <see cref="EnvelopeConfigurationException"/>.
/// </summary>
internal interface IKeyRingStore
{
    /// <summary>True where work stands in a transaction of the user's that may yet roll back: nothing made or read here may enter the shared cache.</summary>
    bool IsTransient { get; }

    /// <summary>True where the caller's own connection is used: work must not outlive the caller.</summary>
    bool UsesCallersConnection { get; }

    /// <summary>The same rows over a connection that outlives the caller and its context; itself where the caller's connection is used. No I/O.</summary>
    IKeyRingStore Detach();

    /// <summary>Works with the same rows over one connection: with several hosts in the connection string, each may lead to another server, of which one is behind the other. Begun anew, as a whole, where the connection is lost.</summary>
    Task<T> OnOneConnectionAsync<T>(Func<IKeyRingStore, Task<T>> work, CancellationToken cancellationToken);

    /// <summary>Reads the ring's row, making it when there is none; racing callers end with the same one.</summary>
    Task<RingIdentity> GetIdentityAsync(CancellationToken cancellationToken);

    /// <summary>Raises the longest sealing lease that the ring's row keeps; never lowers it.</summary>
    Task RaiseSealingLeaseAsync(TimeSpan lease, CancellationToken cancellationToken);

    /// <summary>All versions of the scopes' keys of one purpose, newest first, in chunks of at most 1,000 scopes a query. Those that seal are never taken from a standby (<see cref="KeyUnavailableException"/>).</summary>
    Task<IReadOnlyList<KeyRingEntry>> FindByScopeAsync(IReadOnlyCollection<string> scopes, KeyPurpose purpose, CancellationToken cancellationToken);

    /// <summary>The entries with these ids, in chunks of at most 1,000 a query; ids that are not there are absent from the answer.</summary>
    Task<IReadOnlyList<KeyRingEntry>> FindByIdAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellationToken);

    /// <summary>
    /// Inserts unless scope+purpose+version or the id exist already (ON CONFLICT DO NOTHING), all or nothing each; answers how many were inserted. A version above 1 raises the epoch, and is left out where meanwhile its scope was erased
    /// or its kek ceased to be active; a scope's first data key or kek is left out where the scope was erased, whatever it had: whoever reads again is told.
    /// </summary>
    Task<int> TryInsertAsync(IReadOnlyCollection<KeyRingEntry> entries, CancellationToken cancellationToken);

    /// <summary>
    /// Inserts like <see cref="TryInsertAsync"/>, but whatever became of scopes and keks: rows of an export. Of a key that seals, and that another version of its scope and purpose follows or seals in the place of,
    /// <paramref name="retire"/> says what is inserted: the ring went on without it.
    /// </summary>
    Task<int> RestoreAsync(IReadOnlyCollection<KeyRingEntry> entries, Func<KeyRingEntry, KeyRingEntry> retire, CancellationToken cancellationToken);

    /// <summary>Replaces the row whose id is the entry's and whose revision is <c>entry.Revision - 1</c>, and raises the epoch; false when there is none.</summary>
    Task<bool> TryUpdateAsync(KeyRingEntry entry, CancellationToken cancellationToken);

    /// <summary>
    /// Several changes in one commit, under one epoch: inserts, then replaces as <see cref="TryUpdateAsync"/> does. All or nothing; false, with nothing written, when an inserted one exists or would be left out by <see cref="TryInsertAsync"/>, or a replaced one was changed by others.
    /// </summary>
    Task<bool> TryChangeAsync(IReadOnlyCollection<KeyRingEntry> inserted, IReadOnlyCollection<KeyRingEntry> changed, CancellationToken cancellationToken);

    /// <summary>Every entry, in id order; row keys included only when asked for.</summary>
    Task<IReadOnlyList<KeyRingEntry>> ListAsync(bool includeRowKeys, CancellationToken cancellationToken);

    /// <summary>Shows entries to <paramref name="visit"/> one by one, in no order, as the database hands them out: none is kept. <paramref name="restart"/> is called before the first, and again where a lost connection begins anew. Takes as long as it takes, but for what changed since an epoch.</summary>
    Task VisitAsync(RingFilter filter, Action restart, Action<KeyRingEntry> visit, CancellationToken cancellationToken);

    /// <summary>The first entries in id order, at most so many, behind an id: to work through any number of them in pages.</summary>
    Task<IReadOnlyList<KeyRingEntry>> PageAsync(RingFilter filter, Guid? after, int count, CancellationToken cancellationToken);

    /// <summary>
    /// Makes the database's ring the imported one, in one transaction: its own row (where there is none, or one without any key), its mac key, and an epoch far beyond both, so that every process notices. False,
    /// with nothing written, when the database holds keys of another ring.
    /// </summary>
    Task<bool> TryTakeOverAsync(RingIdentity identity, KeyRingEntry macKey, CancellationToken cancellationToken);
}
