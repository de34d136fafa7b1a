namespace EfEnvelope.Analyzers;

internal static class RuleIds
{
    public const string EncryptionNeverEnabled = "EFENV001";
    public const string EncryptedKeyOrIndex = "EFENV002";
    public const string RefusedOperator = "EFENV003";

    public const string Category = "Usage";

    public static string HelpLink(string id) => $"https://github.com/efenvelope/efenvelope/blob/main/docs/analyzers.md#{id.ToLowerInvariant()}";
}
