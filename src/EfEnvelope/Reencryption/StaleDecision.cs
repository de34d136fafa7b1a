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
    /// <returns>Keys of scopes one by one, row keys together.</returns>
    public static (List<(KeyRingEntry Key, StaleReason Reason)> Scopes, List<(RowKeySum Keys, StaleReason Reason)> RowKeys) Of(RingSummary ring, DateTimeOffset now, TimeSpan keyLifetime, string? rootKeyId)
    {
        var scopes = new List<(KeyRingEntry Key, StaleReason Reason)>();
        foreach (var entry in ring.Scopes)
        {
            // A kek's row keys seal under it as long as it does: what is due is a new kek.
            StaleReason? reason = entry.Purpose switch
            {
                KeyPurpose.Kek => entry.State == KeyState.Active ? PolicyReason(entry) : null,
                KeyPurpose.Field => StateReason(entry.State, KeyState.Active) ?? (entry.State == KeyState.Active ? PolicyReason(entry) : null),
                _ => null,
            };
            if (reason is { } why)
            {
                scopes.Add((entry, why));
            }
        }

        var keks = ring.Scopes.Where(e => e.Purpose == KeyPurpose.Kek).ToDictionary(e => e.Id, e => e.State);
        var rowKeys = ring.RowKeys.Select(k => (Keys: k, Reason: StateReason(k.State, keks.GetValueOrDefault(k.KekId, KeyState.Active)))).Where(k => k.Reason is not null).Select(k => (k.Keys, k.Reason!.Value)).ToList();
        scopes.Sort((a, b) => Compare((a.Reason, a.Key.CreatedAt), (b.Reason, b.Key.CreatedAt)));
        rowKeys.Sort((a, b) => Compare((a.Value, a.Keys.CreatedAt), (b.Value, b.Keys.CreatedAt)));
        return (scopes, rowKeys);

        StaleReason? PolicyReason(KeyRingEntry entry)
            => now - (entry.ActivatedAt ?? entry.CreatedAt) > keyLifetime ? StaleReason.Expired
                : entry.RootKeyId is { } root && rootKeyId is not null && root != rootKeyId ? StaleReason.OtherRootKey
                : null;
    }

    /// <summary>Why a key's state, or that of the kek above it, makes it stale; null where neither does.</summary>
    private static StaleReason? StateReason(KeyState state, KeyState kek) => state switch
    {
        KeyState.Destroyed or KeyState.Revoked or KeyState.PendingDestruction or KeyState.PreActive => null,
        KeyState.Compromised => StaleReason.Compromised,
        _ when kek == KeyState.Compromised => StaleReason.Compromised,
        KeyState.Deactivated => StaleReason.Rotated,
        _ when EnvelopeCensus.IsStale(kek) => StaleReason.KekRetired,
        _ => null,
    };

    private static int Compare((StaleReason Reason, DateTimeOffset CreatedAt) a, (StaleReason Reason, DateTimeOffset CreatedAt) b)
        => (a.Reason == StaleReason.Compromised, b.Reason == StaleReason.Compromised) switch
        {
            (true, false) => -1,
            (false, true) => 1,
            _ => a.CreatedAt.CompareTo(b.CreatedAt),
        };
}
