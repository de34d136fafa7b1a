namespace EfEnvelope;

/// <summary>The states of a key, after NIST SP 800-57 part 1, section 7. Stored as their numbers.</summary>
public enum KeyState
{
    /// <summary>Made, not yet in use.</summary>
    PreActive = 0,

    /// <summary>Seals and opens.</summary>
    Active = 1,

    /// <summary>Opens only: rotated away from.</summary>
    Deactivated = 2,

    /// <summary>Suspected to be known to others: never seals, opens until its rows are re-encrypted.</summary>
    Compromised = 3,

    /// <summary>Its wrapped key is gone: nothing opens.</summary>
    Destroyed = 4,

    /// <summary>Compromised, and its rows are re-encrypted: opening is refused.</summary>
    Revoked = 5,

    /// <summary>Scheduled for destruction: neither seals nor opens, so that whoever still needs it is told while it can be brought back.</summary>
    PendingDestruction = 6,
}
