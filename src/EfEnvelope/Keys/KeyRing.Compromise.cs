using EfEnvelope.Cryptography;
using EfEnvelope.KeyManagement;

namespace EfEnvelope.Keys;

/// <summary>
/// Reports keys compromised and, when no row names them any more, revokes them. The marks come first and ask the key service for nothing: the new keys come after them, here or on the next save anywhere. Whoever dies in
/// between leaves keys that do not seal, never keys that do.
/// </summary>
internal sealed partial class KeyRing
{
    private const int MaxRounds = 20;

    /// <summary>Reports one key compromised, with the row keys under it; a new version takes over.</summary>
    /// <returns>The entries that were marked.</returns>
    public async Task<IReadOnlyList<KeyRingEntry>> CompromiseAsync(Guid id, string reason, IKeyRingStore store, CancellationToken cancellationToken)
        => (await CompromiseAsync(KeySelection.Key(id), reason, null, store, cancellationToken).ConfigureAwait(false)).Marked.Listed;

    /// <summary>
    /// Reports the selected keys compromised: sealing with them stops in this process at once, in all others within the sealing lease; then new versions take over. May be repeated: what is marked stays as it is.
    /// </summary>
    public async Task<(SelectedKeys Keys, ChangedEntries Marked)> CompromiseAsync(KeySelection selection, string reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        await RequirePossibleAsync(selection, store, cancellationToken).ConfigureAwait(false);
        var marked = new ChangedEntries();
        var found = await FindAsync(selection, store, cancellationToken).ConfigureAwait(false);
        var wasReported = found.WasReported;
        RequireUsable(selection, found);
        for (var round = 0; round < MaxRounds; round++)
        {
            var (now, before) = (Now(), marked.Count);

            // Keks and scope keys first: what a compromised kek wraps does not seal, whatever its own row says yet.
            foreach (var chunk in found.Covered.Where(e => KeyResolver.Compromise(e, reason, by, now) is not null).OrderBy(e => e.KekId is null ? 0 : 1).Select(e => e.Id).Chunk(ChangeChunk))
            {
                await ChangeAsync(chunk, Plan, marked.Add, store, cancellationToken).ConfigureAwait(false);
            }

            if (found.RowKeys.Any(k => k.State is not (KeyState.Compromised or KeyState.Revoked or KeyState.Destroyed)))
            {
                await ChangeRowKeysAsync(found.Meaning.RowKeys!.Value, found.Meaning.CoversRowKey, isTolerant: true, Plan, marked.Add, store, cancellationToken).ConfigureAwait(false);
            }

            if (marked.Count == before)
            {
                break;
            }

            // Savers that were under way may have added keys meanwhile.
            found = await FindAsync(selection.After(found.Covered), store, cancellationToken).ConfigureAwait(false);
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        foreach (var (scope, purpose) in found.Covered.Where(e => e.KekId is null).Select(e => (e.Scope, e.Purpose)).Distinct().ToList())
        {
            await EnsureSealingAsync(scope, purpose, reason, store, cancellationToken).ConfigureAwait(false);
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return (found with { WasReported = wasReported }, marked);

        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset at) => KeyResolver.Compromise(entry, reason, by, at);
    }

    /// <summary>The keys that a selection means; rows that are not genuine are told apart, so that one planted row does not stop the response.</summary>
    /// <exception cref="KeyNotFoundInRingException">There is none.</exception>
    public async Task<SelectedKeys> FindAsync(KeySelection selection, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (selection.Before > Now())
        {
            throw new EnvelopeConfigurationException($"The selection '{selection}' lies in the future of this machine's clock. Name a time that is past. Nothing was changed.");
        }

        var (identity, macKey) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        using var pins = new KeyPins();
        var mac = Hold(macKey, pins);
        var listed = (selection.KeyId is { } id ? await store.FindByIdAsync([id], cancellationToken).ConfigureAwait(false) : await store.ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false))
            .ToLookup(e => IsGenuine(mac.Key, identity.Id, e));
        var meaning = selection.Of([.. listed[true]]);
        var rowKeys = new FoundRowKeys(meaning.CoversRowKey);
        if (meaning.RowKeys is { } filter)
        {
            await store.VisitAsync(filter, rowKeys.Clear, entry => rowKeys.Add(entry, IsGenuine(mac.Key, identity.Id, entry)), cancellationToken).ConfigureAwait(false);
        }

        if (meaning.Covered.Count > 0 || meaning.NotCovered.Count > 0 || rowKeys.Sums.Count > 0)
        {
            return new SelectedKeys(
                identity.Id, meaning, rowKeys.Sums, rowKeys.Open, rowKeys.WasReported || meaning.Covered.Any(e => e.CompromisedAt is not null), [.. listed[false].Select(e => e.Id), .. rowKeys.Tampered]);
        }

        if (listed[false].FirstOrDefault(e => e.Id == selection.KeyId) is { } forged)
        {
            throw KeyMetadataMac.Tampered(forged.Id);
        }

        throw new KeyNotFoundInRingException($"The key ring holds nothing of the selection '{selection}'. Nothing was changed; `status` lists keys, scopes, root keys and times.{(selection.RootKeyId is null ? "" : " What that root key wrapped before a `rewrap` is not known by it any more, though older backups still open with it: select it with --created-before, and the time of the rewrap.")}") { KeyId = selection.KeyId };
    }

    /// <summary>Ends opening with a key that is compromised or deactivated, and with the row keys under it; those first, so that whoever dies in between is taken up by the same call.</summary>
    public async Task<ChangedEntries> RevokeAsync(KeyRingEntry key, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
        => await RevokeAsync([key], key.Purpose == KeyPurpose.Kek ? RingFilter.Under([key.Id]) : null, _ => true, reason, by, store, cancellationToken).ConfigureAwait(false);

    /// <summary>Ends opening with keys that are compromised or deactivated; row keys first.</summary>
    /// <param name="keys">Keys of scopes, or row keys that are named by themselves.</param>
    /// <param name="rowKeys">Which row keys go with them; null for none.</param>
    /// <param name="which">Which of these, as they are now.</param>
    /// <param name="reason">For the record.</param>
    /// <param name="by">Who.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the call between two commits.</param>
    public async Task<ChangedEntries> RevokeAsync(
        IReadOnlyList<KeyRingEntry> keys, RingFilter? rowKeys, Func<KeyRingEntry, bool> which, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var revoked = new ChangedEntries();
        if (rowKeys is { } filter)
        {
            await ChangeRowKeysAsync(filter, which, isTolerant: false, (entry, now) => Plan(entry, true, now), revoked.Add, store, cancellationToken).ConfigureAwait(false);
        }

        foreach (var chunk in keys.OrderBy(e => e.KekId is null ? 1 : 0).Select(e => e.Id).Chunk(ChangeChunk))
        {
            await ChangeAsync(chunk, (entry, now) => Plan(entry, false, now), revoked.Add, store, cancellationToken).ConfigureAwait(false);
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return revoked;

        // What another operator ended, or scheduled for its end, meanwhile opens nothing either.
        KeyRingEntry? Plan(KeyRingEntry entry, bool withKek, DateTimeOffset now)
            => entry.State is KeyState.PendingDestruction or KeyState.Destroyed ? null : RetireWith(entry, withKek, KeyState.Revoked, reason, by, now);
    }

    /// <summary>Row keys under a retired kek that still seal stop: before their end is decided, not with it. Other keys wrap none.</summary>
    public Task DeactivateWrappedAsync(KeyRingEntry key, IKeyRingStore store, CancellationToken cancellationToken)
        => key.Purpose != KeyPurpose.Kek ? Task.CompletedTask : ChangeRowKeysAsync(
            new RingFilter { KekIds = [key.Id], State = KeyState.Active }, _ => true, isTolerant: false, (entry, now) => entry.State == KeyState.Active ? Follow(entry, KeyState.Deactivated, null, null, now) : null, _ => { }, store, cancellationToken);

    /// <summary>A key that has a life of its own: it seals values or wraps row keys.</summary>
    /// <exception cref="KeyNotFoundInRingException">The ring holds no such key.</exception>
    /// <exception cref="EnvelopeConfigurationException">It has none.</exception>
    public async Task<KeyRingEntry> FindScopeKeyAsync(Guid id, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var key = await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
        RequireScopeKey(key.Purpose, id);
        return key;
    }

    /// <summary>The row keys that a key wraps, by state: what ends with it. Authenticated.</summary>
    public async Task<IReadOnlyList<RowKeySum>> SumWrappedAsync(KeyRingEntry key, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var wrapped = new RowKeyTally();
        if (key.Purpose == KeyPurpose.Kek)
        {
            await VisitAsync(new RingFilter { KekIds = [key.Id] }, wrapped.Clear, entry => wrapped.Add(entry), store, cancellationToken).ConfigureAwait(false);
        }

        return [.. wrapped.Sums.Select(s => s.Keys)];
    }

    /// <summary>
    /// Changes row keys some hundred at a time, in id order: reads a page, lets <paramref name="plan"/> say what becomes of each, commits, goes on behind it. Nothing is held; whoever dies in between has changed whole pages.
    /// </summary>
    /// <param name="filter">Which rows are read.</param>
    /// <param name="which">Which of them are meant.</param>
    /// <param name="isTolerant">Whether rows that are not genuine are passed over; else they end the call.</param>
    /// <param name="plan">What a key becomes; null where it stays.</param>
    /// <param name="changed">Told of each changed key.</param>
    /// <param name="store">The ring's rows.</param>
    /// <param name="cancellationToken">Cancels the call between two commits.</param>
    private async Task ChangeRowKeysAsync(
        RingFilter filter, Func<KeyRingEntry, bool> which, bool isTolerant, Func<KeyRingEntry, DateTimeOffset, KeyRingEntry?> plan, Action<KeyRingEntry> changed, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, macKey) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        using var pins = new KeyPins();
        var mac = Hold(macKey, pins);
        Guid? after = null;
        while (await store.PageAsync(filter, after, ChangeChunk, cancellationToken).ConfigureAwait(false) is { Count: > 0 } page)
        {
            after = page[^1].Id;
            var now = Now();
            var due = new List<Guid>(page.Count);
            foreach (var entry in page)
            {
                if (!IsGenuine(mac.Key, identity.Id, entry))
                {
                    if (!isTolerant)
                    {
                        throw KeyMetadataMac.Tampered(entry.Id);
                    }
                }
                else if (which(entry) && plan(entry, now) is not null)
                {
                    due.Add(entry.Id);
                }
            }

            if (due.Count > 0)
            {
                await ChangeAsync(due, plan, changed, store, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Refuses what would protect nothing: new keys would be wrapped by the very root key that is known to others.</summary>
    private async Task RequirePossibleAsync(KeySelection selection, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (store.IsTransient)
        {
            await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        }

        if (selection.RootKeyId is not { } selected)
        {
            return;
        }

        string configured;
        try
        {
            configured = (await CallAsync("describe", null, () => _kms.DescribeRootKeyAsync(cancellationToken)).ConfigureAwait(false)).RootKeyId;
        }
        catch (EnvelopeEncryptionException error) when (error is KeyUnavailableException or KeyRefusedException)
        {
            // The marks do not wait for the key service. Where it only does not describe its key, that key would wrap the new ones.
            if (_kms is not IKnownRootKey { KnownRootKeyId: { } known })
            {
                return;
            }

            configured = known;
        }

        if (KmsKeyArn.IsSameKey(configured, selected))
        {
            throw new EnvelopeConfigurationException(
                $"Root key {selected} is the configured one: new keys would be wrapped by it again. Configure another root key, list this one as a former key (FormerKeyArns), deploy that everywhere, and repeat. Nothing was changed.");
        }
    }

    private static void RequireUsable(KeySelection selection, SelectedKeys found)
    {
        if (found.Covered.Count == 0 && found.RowKeys.Count == 0)
        {
            RequireScopeKey(found.NotCovered[0].Purpose, found.NotCovered[0].Id);
        }

        if (found.Covered.All(e => e.State == KeyState.Destroyed) && found.RowKeys.All(k => k.State == KeyState.Destroyed))
        {
            throw new KeyDestroyedException($"Every key of the selection '{selection}' is destroyed already. Nothing was changed.") { KeyId = selection.KeyId };
        }

        if (found.Covered.All(e => e.State is KeyState.Revoked or KeyState.Destroyed) && found.RowKeys.All(k => k.State is KeyState.Revoked or KeyState.Destroyed))
        {
            throw new KeyRevokedException($"Every key of the selection '{selection}' is revoked or destroyed already: none seals or opens. Nothing was changed.") { KeyId = selection.KeyId };
        }
    }

    /// <summary>A new version where a scope has none that seals; no key is made for an erased scope.</summary>
    private async Task EnsureSealingAsync(string scope, KeyPurpose purpose, string reason, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var versions = await ReadVersionsAsync(scope, purpose, identity, mac, store, cancellationToken).ConfigureAwait(false);
            if (KeyResolver.FindSealing(versions) is not null || versions.All(v => v.State == KeyState.Destroyed))
            {
                return;
            }

            var (made, material) = await GenerateAsync(identity, scope, purpose, versions.Max(v => v.Version) + 1, cancellationToken).ConfigureAwait(false);
            material.Dispose();
            if (await store.TryChangeAsync([KeyMetadataMac.Sign(mac.Key, identity.Id, made with { Reason = reason })], [], cancellationToken).ConfigureAwait(false))
            {
                _audit.KeyRotated(made.Id, KmsContext.PurposeName(purpose), made.Version);
                return;
            }
        }

        throw new KeyUnavailableException($"A new key of scope '{scope}' could not be made: others change it at the same time. The compromised ones seal nothing. Repeat.");
    }

    /// <summary>Row keys of a selection, added up as they are seen.</summary>
    private sealed class FoundRowKeys(Func<KeyRingEntry, bool> covers)
    {
        private readonly RowKeyTally _sums = new();

        public IReadOnlyList<RowKeySum> Sums => [.. _sums.Sums.Select(s => s.Keys)];

        public List<Guid> Open { get; } = [];

        public List<Guid> Tampered { get; } = [];

        public bool WasReported { get; private set; }

        public void Clear()
        {
            _sums.Clear();
            Open.Clear();
            Tampered.Clear();
            WasReported = false;
        }

        public void Add(KeyRingEntry entry, bool isGenuine)
        {
            if (!isGenuine)
            {
                Note(Tampered, entry.Id);
            }
            else if (covers(entry))
            {
                _sums.Add(entry);
                WasReported |= entry.CompromisedAt is not null;
                if (SelectedKeys.IsOpen(entry.State))
                {
                    Note(Open, entry.Id);
                }
            }
        }

        private static void Note(List<Guid> ids, Guid id)
        {
            if (ids.Count < ChangedEntries.MaxRowKeys)
            {
                ids.Add(id);
            }
        }
    }
}
