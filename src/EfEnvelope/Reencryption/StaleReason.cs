namespace EfEnvelope;

/// <summary>Why rows should leave a key.</summary>
public enum StaleReason
{
    /// <summary>The key was reported compromised, or the kek that it is under was.</summary>
    Compromised,

    /// <summary>A newer version of its scope's key took over.</summary>
    Rotated,

    /// <summary>It is a row's key, and the kek that it is under was retired.</summary>
    KekRetired,

    /// <summary>It still seals, and is older than the policy allows: rotate its scope first.</summary>
    Expired,

    /// <summary>It still seals, and another root key than the configured one wraps it: rewrapping suffices, and touches no row. Rotate its scope first where its rows are to leave it too.</summary>
    OtherRootKey,
}
