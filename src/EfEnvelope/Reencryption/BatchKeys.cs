using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>The stale keys that a batch names: with what follows each, or why its cells stay.</summary>
internal sealed class BatchKeys
{
    /// <summary>Keys that open, with those that take over.</summary>
    public Dictionary<Guid, (RingKey Old, RingKey New)> Pairs { get; } = [];

    /// <summary>Keys whose cells are passed over together.</summary>
    public Dictionary<Guid, EnvelopeEncryptionException> Blocked { get; } = [];

    /// <summary>Keys of single rows that do not open, or have no successor: their cells are quarantined.</summary>
    public Dictionary<Guid, EnvelopeEncryptionException> Errors { get; } = [];

    /// <exception cref="EnvelopeEncryptionException">The key does not open, or has no successor.</exception>
    public (RingKey Old, RingKey New) Pair(Guid id)
        => Pairs.TryGetValue(id, out var pair) ? pair
            : throw (Errors.GetValueOrDefault(id) ?? new KeyUnavailableException($"Key {id} has no successor yet: others change its scope at the same time. Run the job again.") { KeyId = id });
}
