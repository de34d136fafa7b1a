using System.Buffers.Binary;
using EfEnvelope.Census;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Reencryption;

namespace EfEnvelope;

/// <content>What a job would do.</content>
public sealed partial class EnvelopeKeys
{
    /// <summary>
    /// Finds out what <see cref="ReencryptAsync"/> would do: which keys are stale and why, how many rows and bytes, how many calls of the key service, how long. Writes nothing and makes no key; reads every table with encrypted
    /// columns, and asks the key service for the keys of a sample.
    /// </summary>
    /// <param name="options">The job's options; null for the defaults.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">Options are out of range, or a table is missing: the message says which.</exception>
    /// <exception cref="KeyUnavailableException">The key service or the ring cannot be reached.</exception>
    public async Task<ReencryptionPlan> PlanReencryptionAsync(ReencryptionOptions? options = null, CancellationToken cancellationToken = default)
    {
        string? rootKey = null;
        try
        {
            rootKey = (await _session.Runtime.KeyManagement.DescribeRootKeyAsync(cancellationToken).ConfigureAwait(false)).RootKeyId;
        }
        catch (EnvelopeEncryptionException)
        {
            // A key service that does not describe its key: keys under another one are not told apart then.
        }

        return await ExplainingAsync(() => new ReencryptionPlanner(_session, options ?? new ReencryptionOptions()).MakeAsync(rootKey, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>What one census costs, by the database's statistics and a sample of at most 20,000 rows; a small table without statistics, and any of SQLite, is counted.</summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    public Task<CensusCost> EstimateCensusAsync(CancellationToken cancellationToken = default) => ExplainingAsync(() => CensusEstimate.TakeAsync(_session, cancellationToken));

    /// <summary>
    /// Rotates every scope whose sealing key is older than a policy allows, or is wrapped by a root key that is to be left: their rows are stale then, and the job moves them.
    /// </summary>
    /// <param name="keyLifetime">How old a sealing key may be; null for any age.</param>
    /// <param name="rootKeyId">A root key (ARN) whose keys are to be left; null for none.</param>
    /// <param name="reason">For the record; no personal data.</param>
    /// <param name="cancellationToken">Stops between two scopes.</param>
    /// <returns>The new keys.</returns>
    /// <exception cref="EnvelopeConfigurationException">No key of the ring is wrapped by <paramref name="rootKeyId"/>, or it is the configured root key, which would wrap the new keys too. Nothing was changed.</exception>
    public async Task<IReadOnlyList<KeyInfo>> RotateExpiredAsync(TimeSpan? keyLifetime, string? rootKeyId = null, string? reason = null, CancellationToken cancellationToken = default)
    {
        var now = _session.Runtime.TimeProvider.GetUtcNow();
        var ring = await _session.Ring.ListAsync(includeRowKeys: false, _session.OpenStore(), cancellationToken).ConfigureAwait(false);
        if (rootKeyId is not null)
        {
            await RequireFormerAsync(rootKeyId, ring, cancellationToken).ConfigureAwait(false);
        }

        var scopes = ring
            .Where(e => e.State == KeyState.Active && e.Purpose is KeyPurpose.Field or KeyPurpose.Kek && KeyScope.KindOf(e.Scope) != ScopeKind.Row
                && ((keyLifetime is { } most && now - (e.ActivatedAt ?? e.CreatedAt) > most) || (rootKeyId is not null && e.RootKeyId == rootKeyId)))
            .Select(e => e.Scope).Distinct(StringComparer.Ordinal).ToList();
        var rotated = new List<KeyInfo>();
        foreach (var scope in scopes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                rotated.AddRange(await RotateAsync(EnvelopeScope.Parse(scope), reason, cancellationToken).ConfigureAwait(false));
            }
            catch (KeyDestroyedException)
            {
                // Erased since the list was read: it needs no new key, and the other scopes do.
            }
        }

        return rotated;
    }

    private async Task RequireFormerAsync(string rootKeyId, IReadOnlyList<KeyRingEntry> ring, CancellationToken cancellationToken)
    {
        if (!ring.Any(e => e.RootKeyId == rootKeyId))
        {
            throw new EnvelopeConfigurationException($"The root key '{rootKeyId}' wraps no key of the ring; `status` shows which do, by their immutable id (ARN). Nothing was changed.");
        }

        string configured;
        try
        {
            configured = (await _session.Runtime.KeyManagement.DescribeRootKeyAsync(cancellationToken).ConfigureAwait(false)).RootKeyId;
        }
        catch (KeyRefusedException)
        {
            // A key service that does not describe its key.
            if (_session.Runtime.KeyManagement is not IKnownRootKey { KnownRootKeyId: { } known })
            {
                return;
            }

            configured = known;
        }

        if (KmsKeyArn.IsSameKey(configured, rootKeyId))
        {
            throw new EnvelopeConfigurationException($"The root key '{rootKeyId}' is the configured one: new keys would be wrapped by it again. Configure another one, list this one as a former key, and repeat. Nothing was changed.");
        }
    }

    /// <summary>
    /// The keys whose rows a job would look for, by the ring alone: keys and keks of scopes that were retired, and row keys that were retired by themselves (reported compromised, or by an import), for each kek and state one id that is
    /// another when these are others. What else retires a row key is its kek. Never opens an empty ring.
    /// </summary>
    internal async Task<HashSet<Guid>> FindRetiredAsync(CancellationToken cancellationToken)
    {
        var store = _session.OpenStore();
        var scopes = await store.ListAsync(includeRowKeys: false, cancellationToken).ConfigureAwait(false);
        var keys = scopes.Where(e => e.State is KeyState.Deactivated or KeyState.Compromised && e.Purpose is KeyPurpose.Field or KeyPurpose.Kek).Select(e => e.Id).ToHashSet();
        foreach (var state in new[] { KeyState.Deactivated, KeyState.Compromised })
        {
            keys.UnionWith(await SumRowKeysAsync(state).ConfigureAwait(false));
        }

        return keys;

        async Task<IEnumerable<Guid>> SumRowKeysAsync(KeyState state)
        {
            var sums = new Dictionary<Guid, UInt128>();
            await store.VisitAsync(
                RingFilter.RowKeys with { State = state },
                sums.Clear,
                entry => sums[entry.KekId!.Value] = sums.GetValueOrDefault(entry.KekId.Value) ^ BinaryPrimitives.ReadUInt128BigEndian(entry.Id.ToByteArray(bigEndian: true)),
                cancellationToken).ConfigureAwait(false);
            return sums.Where(s => !keys.Contains(s.Key)).Select(s =>
            {
                var bytes = new byte[16];
                BinaryPrimitives.WriteUInt128BigEndian(bytes, s.Value);
                return new Guid(bytes, bigEndian: true);
            });
        }
    }
}
