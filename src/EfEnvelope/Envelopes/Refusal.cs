namespace EfEnvelope.Envelopes;

/// <summary>The one factory of what envelopes and values are refused with. Messages never hold a value and never tell why a tag failed.</summary>
internal static class Refusal
{
    public static EnvelopeRefusedException Of(string message, EnvelopeBinding? binding = null, Guid? keyId = null) => new(
        binding is not { ColumnId.Length: > 0 } bound ? message : $"Column {bound.ColumnId}: {message}")
    {
        ColumnId = binding?.ColumnId,
        KeyId = keyId,
    };

    public static EnvelopeRefusedException NotGenuine(EnvelopeBinding binding, Guid keyId) => Of(
        "the envelope does not open here: it was altered, or it was sealed for another column, scope or row. Check the column's id, the row's scope and, for a row-bound column, its primary key.",
        binding,
        keyId);

    public static EnvelopeRefusedException Value(string what) => Of($"the decrypted value {what}. Check that the property's type is the one that was written.");
}
