namespace EfEnvelope.KeyManagement;

/// <summary>
/// Names of AWS KMS keys: <c>arn:partition:kms:region:account:key/id</c>. The replicas of a multi-Region key (<c>key/mrk-...</c>) share id, account and material, and open what any of them wrapped; only the Region differs.
/// Source: AWS KMS Developer Guide, "Multi-Region keys in AWS KMS".
/// </summary>
internal static class KmsKeyArn
{
    /// <summary>The Region that an ARN names; null for an alias or a bare id.</summary>
    public static string? RegionOf(string keyId) => keyId.Split(':') is ["arn", _, "kms", { Length: > 0 } region, ..] ? region : null;

    /// <summary>Whether a name is a key's own ARN, which means the same key for ever; an alias can be pointed at another.</summary>
    public static bool IsKey(string keyId) => keyId.Split(':') is ["arn", _, "kms", _, _, var key] && key.StartsWith("key/", StringComparison.Ordinal);

    /// <summary>Whether two names mean one key: the same name, or replicas of one multi-Region key.</summary>
    public static bool IsSameKey(string one, string other)
        => one == other
            || (one.Split(':') is ["arn", var partition, "kms", _, var account, var key] && key.StartsWith("key/mrk-", StringComparison.Ordinal)
                && other.Split(':') is ["arn", var otherPartition, "kms", _, var otherAccount, var otherKey]
                && (partition, account, key) == (otherPartition, otherAccount, otherKey));
}
