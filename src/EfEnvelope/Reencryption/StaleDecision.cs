using EfEnvelope.Cryptography;
using EfEnvelope.Keys;

namespace EfEnvelope.Reencryption;

/// <summary>Which keys of a ring rows should leave (data keys, and keks that policy says are due), and why: a function of the ring's rows, the time and the policy. Compromised ones first, then the oldest.</summary>
internal static class StaleDecision
{
    /// <param name="ring">Every key of the ring.</param>
    /// <param name="now">The time.</param>
    /// <param name="keyLifetime">How old a sealing key may be.</param>
    /// <param name="rootKeyId">The configured root key; null where the key service does not tell.</param>
    public static List<(KeyRingEntry Key, StaleReason Reason)> Of(IReadOnlyList<KeyRingEntry> ring, DateTimeOffset now, TimeSpan keyLifetime, string? rootKeyId)
    {
        var keks = ring.Where(e => e.Purpose == KeyPurpose.Kek).ToDictionary(e => e.Id, e => e.State);
        var decided = new List<(KeyRingEntry Key, StaleReason Reason)>();
        foreach (var entry in ring.Where(e => e.Purpose == KeyPurpose.Kek && e.State == KeyState.Active))
        {
            // Its row keys seal under it as long as it does: what is due is a new kek.
            if (PolicyReason(entry) is { } due)
            {
                decided.Add((entry, due));
            }
        }

        foreach (var entry in ring.Where(e => e.Purpose == KeyPurpose.Field))
        {
            var kek = entry.KekId is { } kekId && keks.TryGetValue(kekId, out var state) ? state : KeyState.Active;
            StaleReason? reason = entry.State switch
            {
                KeyState.Destroyed or KeyState.Revoked or KeyState.PendingDestruction or KeyState.PreActive => null,
                KeyState.Compromised => StaleReason.Compromised,
                _ when kek == KeyState.Compromised => StaleReason.Compromised,
                KeyState.Deactivated => StaleReason.Rotated,
                _ when EnvelopeCensus.IsStale(kek) => StaleReason.KekRetired,
                _ => PolicyReason(entry),
            };
            if (reason is { } why)
            {
                decided.Add((entry, why));
            }
        }

        decided.Sort((a, b) => (a.Reason == StaleReason.Compromised, b.Reason == StaleReason.Compromised) switch
        {
            (true, false) => -1,
            (false, true) => 1,
            _ => a.Key.CreatedAt.CompareTo(b.Key.CreatedAt),
        });
        return decided;

        StaleReason? PolicyReason(KeyRingEntry entry)
            => entry.KekId is null && now - (entry.ActivatedAt ?? entry.CreatedAt) > keyLifetime ? StaleReason.Expired
                : entry.RootKeyId is { } root && rootKeyId is not null && root != rootKeyId ? StaleReason.OtherRootKey
                : null;
    }
}
