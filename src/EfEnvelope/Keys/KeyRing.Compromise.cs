using EfEnvelope.Cryptography;

namespace EfEnvelope.Keys;

/// <summary>
/// Reports keys compromised and, when no row names them any more, revokes them. The marks come first and ask the key service for nothing: the new keys come after them, here or on the next save anywhere. Whoever dies in
/// between leaves keys that do not seal, never keys that do.
/// </summary>
internal sealed partial class KeyRing
{
    private const int MaxRounds = 20;

    /// <summary>Reports one key compromised, with the row keys under it; a new version takes over.</summary>
    /// <returns>Every entry that was marked.</returns>
    public async Task<IReadOnlyList<KeyRingEntry>> CompromiseAsync(Guid id, string reason, IKeyRingStore store, CancellationToken cancellationToken)
        => (await CompromiseAsync(KeySelection.Key(id), reason, null, store, cancellationToken).ConfigureAwait(false)).Marked;

    /// <summary>
    /// Reports the selected keys compromised: sealing with them stops in this process at once, in all others within the sealing lease; then new versions take over. May be repeated: what is marked stays as it is.
    /// </summary>
    public async Task<CompromisedKeys> CompromiseAsync(KeySelection selection, string reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        await RequirePossibleAsync(selection, store, cancellationToken).ConfigureAwait(false);
        var marked = new List<KeyRingEntry>();
        var found = await FindAsync(selection, store, cancellationToken).ConfigureAwait(false);
        RequireUsable(selection, found);
        for (var round = 0; round < MaxRounds; round++)
        {
            var now = Now();
            var due = found.Covered.Where(e => KeyResolver.Compromise(e, reason, by, now) is not null).ToList();
            if (due.Count == 0)
            {
                break;
            }

            // Keks and scope keys first: what a compromised kek wraps does not seal, whatever its own row says yet.
            foreach (var chunk in due.OrderBy(e => e.KekId is null ? 0 : 1).Select(e => e.Id).Chunk(ChangeChunk))
            {
                marked.AddRange(await ChangeAsync(chunk, (entry, at) => KeyResolver.Compromise(entry, reason, by, at), store, cancellationToken).ConfigureAwait(false));
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
        return found with { Marked = marked };
    }

    /// <summary>The keys that a selection means; rows that are not genuine are told apart, so that one planted row does not stop the response.</summary>
    /// <exception cref="KeyNotFoundInRingException">There is none.</exception>
    public async Task<CompromisedKeys> FindAsync(KeySelection selection, IKeyRingStore store, CancellationToken cancellationToken)
    {
        if (selection.Before > Now())
        {
            throw new EnvelopeConfigurationException($"The selection '{selection}' lies in the future of this machine's clock. Name a time that is past. Nothing was changed.");
        }

        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<KeyRingEntry> ring = selection.KeyId is { } id
            ? [.. await store.FindByIdAsync([id], cancellationToken).ConfigureAwait(false), .. await store.FindByKekAsync(id, cancellationToken).ConfigureAwait(false)]
            : await store.ListAsync(includeRowKeys: true, cancellationToken).ConfigureAwait(false);
        var genuine = ring.ToLookup(e => IsGenuine(mac.Key, identity.Id, e));
        var (covered, notCovered) = selection.Of([.. genuine[true]]);
        if (covered.Count > 0 || notCovered.Count > 0)
        {
            return new CompromisedKeys(identity.Id, [], covered, notCovered, [.. genuine[false].Select(e => e.Id)]);
        }

        if (genuine[false].FirstOrDefault(e => e.Id == selection.KeyId) is { } forged)
        {
            throw KeyMetadataMac.Tampered(forged.Id);
        }

        throw new KeyNotFoundInRingException($"The key ring holds nothing of the selection '{selection}'. Nothing was changed; `status` lists keys, scopes, root keys and times.") { KeyId = selection.KeyId };
    }

    /// <summary>Ends opening with keys that are compromised or deactivated; row keys first, so that whoever dies in between is taken up by the same call.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> RevokeAsync(IReadOnlyList<KeyRingEntry> keys, string? reason, string? by, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var isWrapper = keys.Any(k => k.Purpose == KeyPurpose.Kek);
        var revoked = new List<KeyRingEntry>();
        foreach (var chunk in keys.OrderBy(e => e.KekId is null ? 1 : 0).Select(e => e.Id).Chunk(ChangeChunk))
        {
            revoked.AddRange(await ChangeAsync(chunk, Plan, store, cancellationToken).ConfigureAwait(false));
        }

        await ConfirmAsync(store, cancellationToken).ConfigureAwait(false);
        return revoked;

        // What another operator ended, or scheduled for its end, meanwhile opens nothing either.
        KeyRingEntry? Plan(KeyRingEntry entry, DateTimeOffset now)
            => entry.State is KeyState.PendingDestruction or KeyState.Destroyed ? null : RetireWith(entry, isWrapper, KeyState.Revoked, reason, by, now);
    }

    /// <summary>Row keys under a retired kek that still seal stop: before their end is decided, not with it.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> DeactivateWrappedAsync(IReadOnlyList<KeyRingEntry> keys, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var sealing = keys.Where(e => e is { KekId: not null, State: KeyState.Active } && keys[0].Id == e.KekId).Select(e => e.Id).ToList();
        if (sealing.Count == 0)
        {
            return keys;
        }

        foreach (var chunk in sealing.Chunk(ChangeChunk))
        {
            await ChangeAsync(chunk, (entry, now) => entry.State == KeyState.Active ? Follow(entry, KeyState.Deactivated, null, null, now) : null, store, cancellationToken).ConfigureAwait(false);
        }

        return await FindWithWrappedAsync(keys[0].Id, store, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>A key with those that it wraps: what ends with it.</summary>
    public async Task<IReadOnlyList<KeyRingEntry>> FindWithWrappedAsync(Guid id, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var key = await ReadAsync(id, store, cancellationToken).ConfigureAwait(false);
        RequireScopeKey(key.Purpose, id);
        if (key.Purpose != KeyPurpose.Kek)
        {
            return [key];
        }

        var (identity, mac) = await OpenForChangeAsync(store, cancellationToken).ConfigureAwait(false);
        var wrapped = await store.FindByKekAsync(id, cancellationToken).ConfigureAwait(false);
        foreach (var entry in wrapped)
        {
            Verify(mac.Key, identity.Id, entry);
        }

        return [key, .. wrapped];
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
            // Nothing can be wrapped by it now either; the marks do not wait for the key service.
            return;
        }

        if (configured == selected)
        {
            throw new EnvelopeConfigurationException(
                $"Root key {selected} is the configured one: new keys would be wrapped by it again. Configure another root key, list this one as a former key (FormerKeyArns), deploy that everywhere, and repeat. Nothing was changed.");
        }
    }

    private static void RequireUsable(KeySelection selection, CompromisedKeys found)
    {
        if (found.Covered.Count == 0)
        {
            RequireScopeKey(found.NotCovered[0].Purpose, found.NotCovered[0].Id);
        }

        if (found.Covered.All(e => e.State == KeyState.Destroyed))
        {
            throw new KeyDestroyedException($"Every key of the selection '{selection}' is destroyed already. Nothing was changed.") { KeyId = selection.KeyId };
        }

        if (found.Covered.All(e => e.State is KeyState.Revoked or KeyState.Destroyed))
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
}

/// <summary>What a selection means in a ring. A value.</summary>
/// <param name="RingId">The ring.</param>
/// <param name="Marked">Entries that this call marked.</param>
/// <param name="Covered">Every selected key that seals values or wraps row keys, as it is now.</param>
/// <param name="NotCovered">Selected keys that have no such life: index roots and the ring's own mac key.</param>
/// <param name="Tampered">Rows of the ring that are not genuine; whether they were meant is not known.</param>
internal sealed record CompromisedKeys(
    Guid RingId, IReadOnlyList<KeyRingEntry> Marked, IReadOnlyList<KeyRingEntry> Covered, IReadOnlyList<KeyRingEntry> NotCovered, IReadOnlyList<Guid> Tampered);
