using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>
/// Loads the keys that take over from the stale ones of a batch: all scopes at once, and where one of them is refused, by halves, so that it holds up no other. A scope, and a parent of rows, that has none is noted for the whole pass.
/// </summary>
internal sealed class SuccessorLoader(KeyRing ring, IKeyRingStore store, KeyPins pins, BlockedKeys blocked)
{
    private readonly Dictionary<string, RingKey> _successors = new(StringComparer.Ordinal);

    /// <summary>Rows whose own keys stand in the way.</summary>
    private readonly Dictionary<string, EnvelopeEncryptionException> _errors = new(StringComparer.Ordinal);

    public RingKey? Find(string scope) => _successors.GetValueOrDefault(scope);

    public EnvelopeEncryptionException? FindError(string scope) => _errors.GetValueOrDefault(scope);

    /// <returns>The row keys that nobody held before.</returns>
    public async Task<List<RingKey>> LoadAsync(List<RingKey> old, TransientKeys transient, CancellationToken cancellationToken)
    {
        var rows = old.Where(k => k.Kind == ScopeKind.Row).Select(k => k.Scope).Distinct(StringComparer.Ordinal).ToList();
        var held = rows.Where(ring.HoldsSealing).ToHashSet(StringComparer.Ordinal);
        await LoadAsync(rows, scopes => new(ring.RotateRowKeysAsync(scopes, store, pins, cancellationToken)), cancellationToken).ConfigureAwait(false);
        List<RingKey> loaded = [.. _successors.Values.Where(k => !held.Contains(k.Scope))];
        var others = old.Where(k => k.Kind != ScopeKind.Row).Select(k => k.Scope).Distinct(StringComparer.Ordinal).ToList();
        await LoadAsync(others, scopes => ring.GetForSealingAsync(scopes, store, transient, pins, cancellationToken), cancellationToken).ConfigureAwait(false);
        return loaded;
    }

    private async Task LoadAsync(List<string> scopes, Func<IReadOnlyCollection<string>, ValueTask<Dictionary<string, RingKey>>> load, CancellationToken cancellationToken)
    {
        if (scopes.Count == 0)
        {
            return;
        }

        try
        {
            foreach (var (scope, key) in await load(scopes).ConfigureAwait(false))
            {
                _successors[scope] = key;
            }
        }
        catch (EnvelopeEncryptionException error) when (IsRefusal(error))
        {
            var parents = scopes.GroupBy(Source, StringComparer.Ordinal).ToList();
            if (parents.Count == 1 && await IsBlockedAsync(scopes, error, cancellationToken).ConfigureAwait(false))
            {
                return;
            }

            // By parent, so that what stands under one kek stays together.
            var inOrder = parents.SelectMany(p => p).ToList();
            var half = parents.Count == 1 ? scopes.Count / 2 : parents.Take(parents.Count / 2).Sum(p => p.Count());
            await LoadAsync(inOrder[..half], load, cancellationToken).ConfigureAwait(false);
            await LoadAsync(inOrder[half..], load, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Whether it is known why none of the scopes, which have one source, gets a key; else one of several rows has a key of its own that stands in the way.</summary>
    private async Task<bool> IsBlockedAsync(List<string> scopes, EnvelopeEncryptionException error, CancellationToken cancellationToken)
    {
        if (KeyScope.KindOf(scopes[0]) != ScopeKind.Row)
        {
            blocked.AddScope(scopes[0], error);
            return true;
        }

        var parent = KeyScope.ParentOf(scopes[0]);
        try
        {
            await ring.LoadSealingKekAsync(parent, store, cancellationToken).ConfigureAwait(false);
        }
        catch (EnvelopeEncryptionException why) when (IsRefusal(why))
        {
            blocked.AddParent(parent, why);
            return true;
        }

        if (scopes.Count > 1)
        {
            return false;
        }

        _errors[scopes[0]] = error is KeyRefusedException && await IsOverAsync(error, cancellationToken).ConfigureAwait(false)
            ? new KeyUnavailableException("The kek above a row was refused a moment ago and can be used again. Run the job again.", error) { KeyId = error.KeyId }
            : error;
        return true;
    }

    /// <summary>Whether a refusal of the kek above a row is over: the key service is asked for no row key by itself.</summary>
    private async Task<bool> IsOverAsync(EnvelopeEncryptionException error, CancellationToken cancellationToken)
        => error.KeyId is { } id
            && await store.FindByIdAsync([id], cancellationToken).ConfigureAwait(false) is [{ KekId: { } kek }]
            && await ring.FindKekErrorAsync(kek, store, cancellationToken).ConfigureAwait(false) is null;

    private static bool IsRefusal(EnvelopeEncryptionException error) => error is KeyRefusedException or KeyRingTamperedException or KeyRevokedException or KeyDestroyedException;

    /// <summary>What a scope's key is had from: of a row its parent's kek, of any other the key service.</summary>
    private static string Source(string scope) => KeyScope.KindOf(scope) == ScopeKind.Row ? "kek " + KeyScope.ParentOf(scope) : scope;
}
