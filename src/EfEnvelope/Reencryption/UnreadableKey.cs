namespace EfEnvelope;

/// <summary>A key that cannot be loaded now. Immutable.</summary>
/// <param name="Id">The key.</param>
/// <param name="Error">The type of the error.</param>
public sealed record UnreadableKey(Guid Id, string Error);
