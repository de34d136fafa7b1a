namespace EfEnvelope;

/// <summary>A sampled cell that did not open. Immutable.</summary>
/// <param name="Table">The table, with its schema where it has one.</param>
/// <param name="Column">The column.</param>
/// <param name="KeyId">The key that it names; null when it is no envelope.</param>
/// <param name="Error">The name of the exception's type.</param>
public sealed record SampleFailure(string Table, string Column, Guid? KeyId, string Error);
