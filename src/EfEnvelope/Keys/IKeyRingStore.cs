using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// The ring's rows, over one connection source: normally a connection of the ring's own (own pool, never in the user's transaction), where the
/// provider leaves no other way the user's connection. Every write commits before its task completes, unless <see cref="IsTransient"/>.
/// Trouble of the database surfaces as <see cref="KeyUnavailableException"/>, a missing table as <see cref="EnvelopeConfigurationException"/>.
/// </summary>
internal interface IKeyRingStore
{
    /// <summary>True where writes stand in a transaction of the user's that may yet roll back: nothing made or read here may enter the shared cache.</summary>
    bool IsTransient { get; }

    /// <summary>Reads the ring's row, making it when there is none; racing callers end with the same one.</summary>
    Task<RingIdentity> GetIdentityAsync(CancellationToken cancellationToken);

    /// <summary>All versions of a scope's keys of one purpose, newest first.</summary>
    Task<IReadOnlyList<KeyRingEntry>> FindByScopeAsync(string scope, KeyPurpose purpose, CancellationToken cancellationToken);

    /// <summary>The entries with these ids, in chunks of at most 500 a query; ids that are not there are absent from the answer.</summary>
    Task<IReadOnlyList<KeyRingEntry>> FindByIdAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellationToken);

    /// <summary>Inserts unless scope+purpose+version or the id exist already (ON CONFLICT DO NOTHING); false when they did.</summary>
    Task<bool> TryInsertAsync(KeyRingEntry entry, CancellationToken cancellationToken);

    /// <summary>Replaces the row whose id is the entry's and whose revision is <c>entry.Revision - 1</c>; false when there is none.</summary>
    Task<bool> TryUpdateAsync(KeyRingEntry entry, CancellationToken cancellationToken);

    /// <summary>Every entry, in id order, streamed; row keys included only when asked for.</summary>
    IAsyncEnumerable<KeyRingEntry> ListAsync(bool includeRowKeys, CancellationToken cancellationToken);
}
