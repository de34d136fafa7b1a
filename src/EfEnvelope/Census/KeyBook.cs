using EfEnvelope.Keys;
using EfEnvelope.Storage;

namespace EfEnvelope.Census;

/// <summary>The ring's keys for counting: scope keys are held, row keys are looked up some at a time. Rows that are not genuine end the count with a typed error. Not thread safe.</summary>
internal sealed class KeyBook
{
    private readonly KeyRing _ring;
    private readonly IKeyRingStore _store;
    private readonly Dictionary<Guid, KeyRingEntry> _scopes;

    private KeyBook(KeyRing ring, IKeyRingStore store, Dictionary<Guid, KeyRingEntry> scopes) => (_ring, _store, _scopes) = (ring, store, scopes);

    public static async Task<KeyBook> OpenAsync(EnvelopeSession session, CancellationToken cancellationToken)
    {
        var (ring, store) = (session.Ring, session.OpenStore());
        return new KeyBook(ring, store, (await ring.ListAsync(includeRowKeys: false, store, cancellationToken).ConfigureAwait(false)).ToDictionary(e => e.Id));
    }

    /// <summary>A scope's key by its id.</summary>
    public KeyRingEntry? Find(Guid id) => _scopes.GetValueOrDefault(id);

    /// <summary>Entries of any keys, by id; those that the ring does not hold are absent.</summary>
    public async Task<Dictionary<Guid, KeyRingEntry>> FindAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellationToken)
    {
        var found = await _ring.FindByIdAsync(ids, _store, cancellationToken).ConfigureAwait(false);

        // Keks that were made since the book was opened.
        var keks = found.Select(e => e.KekId).OfType<Guid>().Where(kek => !_scopes.ContainsKey(kek)).Distinct().ToList();
        foreach (var kek in await _ring.FindByIdAsync(keks, _store, cancellationToken).ConfigureAwait(false))
        {
            _scopes[kek.Id] = kek;
        }

        return found.ToDictionary(e => e.Id);
    }
}
