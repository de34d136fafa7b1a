namespace EfEnvelope.Keys;

/// <summary>Reading the ring without a list of its row keys: each row is authenticated, added up and let go.</summary>
internal sealed partial class KeyRing
{
    /// <summary>Scope keys one by one, row keys summed up.</summary>
    /// <exception cref="KeyRingTamperedException">A row is not genuine.</exception>
    public async Task<RingSummary> SummarizeAsync(IKeyRingStore store, CancellationToken cancellationToken)
    {
        var scopes = await ListAsync(includeRowKeys: false, store, cancellationToken).ConfigureAwait(false);
        var rowKeys = new RowKeyTally();
        await VisitAsync(RingFilter.RowKeys, rowKeys.Clear, entry => rowKeys.Add(entry), store, cancellationToken).ConfigureAwait(false);
        return new RingSummary(scopes, [.. rowKeys.Sums.Select(s => s.Keys)]);
    }

    /// <summary>Shows every entry, authenticated, to <paramref name="visit"/>, and keeps none.</summary>
    /// <param name="filter">Which.</param>
    /// <param name="restart">Called before the first entry, and again where the connection was lost half-way: what was seen so far is shown once more.</param>
    /// <param name="visit">Called for each.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <exception cref="KeyRingTamperedException">A row is not genuine.</exception>
    public async Task VisitAsync(RingFilter filter, Action restart, Action<KeyRingEntry> visit, IKeyRingStore store, CancellationToken cancellationToken)
    {
        using var transient = new TransientKeys();
        using var pins = new KeyPins();
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = Hold(await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false), pins);
        await store.VisitAsync(
            filter,
            restart,
            entry =>
            {
                Verify(mac.Key, identity.Id, entry);
                visit(entry);
            },
            cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The mac key, for as long as a ring of any size takes to read: also where it is opened anew meanwhile.</summary>
    private static RingKey Hold(RingKey mac, KeyPins pins) => pins.TryPin(mac, out mac) ? mac : throw new KeyUnavailableException("The key ring is being opened anew. Retry.");

    /// <summary>The entries with these ids, authenticated; ids that the ring does not hold are absent from the answer.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the question.</param>
    /// <param name="isTolerant">Whether rows that are not genuine are passed over; else they end the call.</param>
    /// <exception cref="KeyRingTamperedException">A row is not genuine.</exception>
    public async Task<IReadOnlyList<KeyRingEntry>> FindByIdAsync(IReadOnlyCollection<Guid> ids, IKeyRingStore store, CancellationToken cancellationToken, bool isTolerant = false)
    {
        if (ids.Count == 0)
        {
            return [];
        }

        using var transient = new TransientKeys();
        var identity = await GetIdentityAsync(store, cancellationToken).ConfigureAwait(false);
        var mac = await GetMacKeyAsync(store, transient, cancellationToken).ConfigureAwait(false);
        var entries = await store.FindByIdAsync(ids, cancellationToken).ConfigureAwait(false);
        if (isTolerant)
        {
            return [.. entries.Where(e => IsGenuine(mac.Key, identity.Id, e))];
        }

        foreach (var entry in entries)
        {
            Verify(mac.Key, identity.Id, entry);
        }

        return entries;
    }
}
